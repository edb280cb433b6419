"""Who labels the pictures: processes of this machine, or actors of a Ray cluster."""
