"""What the gate decides, and the pages it answers itself. What it carries is in `gate.py`."""
