"""Files that may be damaged, hostile or larger than the memory, and files that appear whole or not at all."""
