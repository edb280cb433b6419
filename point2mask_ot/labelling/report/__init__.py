"""What a job has made: numbers, charts and pictures."""
