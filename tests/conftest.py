import os
import sys
from pathlib import Path

# Toy models are slower on several threads, and much slower on a machine that is busy.
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent))
