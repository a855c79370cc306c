"""A Python of its own, whose environment decides where the Hub is: runs what comes in, line by line.

Each line of input is the JSON of a piece of code; each line of output that of {"result": ...} or of {"error": [type,
message]}. Names stay from one piece to the next; a piece says its result by setting `result`.
"""

import json
import os
import sys


out = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the code prints does not disturb the answers
if "--without-our-package" in sys.argv:
    sys.modules["ofa_transformers"] = None  # an import fails as if it were not installed
names: dict = {}
for line in sys.stdin:
    names["result"] = None
    try:
        exec(json.loads(line), names)
        answer = {"result": names["result"]}
    except BaseException as error:
        answer = {"error": [type(error).__name__, str(error)]}
    out.write(json.dumps(answer) + "\n")
    out.flush()
