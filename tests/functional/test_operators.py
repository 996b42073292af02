"""The operators need torch's compiler only where something is compiled: importing it takes a second."""

import subprocess
import sys


def test_importing_the_operators_imports_no_compiler():
    program = "import sys, dpn.functional.local_filter, dpn.functional.label_contexts; print('torch._dynamo' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == ["False"]
