"""The checks of each lab, one file a lab (``lab02.py``), imported when the first exercise of that lab is checked."""
