#!/usr/bin/env python3
"""A lamp that speaks the agent's Unix socket: one line of JSON in, one line of JSON out.

    lamp.py SOCKET
"""
import json
import os
import socket
import sys

state = {"on": False, "level": 40}


def perform(op, name, value):
    """What came of a request, as the rest of its answer."""
    if op == "read":
        return {"value": state[name]}
    if op == "write":
        if name == "level" and state["on"] is False:
            return {"refused": "switch it on first"}
        state[name] = value
        return {}
    if op == "invoke" and name == "toggle":
        state["on"] = not state["on"]
        return {"value": {"on": state["on"]}}
    return {"failed": f"{op} {name} is not there"}


path = sys.argv[1]
if os.path.exists(path):
    os.unlink(path)
listener = socket.socket(socket.AF_UNIX)
listener.bind(path)
os.chmod(path, 0o600)
listener.listen(1)
while True:
    connection, _ = listener.accept()
    with connection, connection.makefile("rw", encoding="utf-8") as lines:
        for line in lines:
            request = json.loads(line)
            before = state["on"]
            answer = perform(request["op"], request["name"], request.get("value"))
            lines.write(json.dumps({"id": request["id"], **answer}) + "\n")
            if state["on"] != before:
                lines.write(json.dumps({"event": "switched", "value": state["on"]}) + "\n")
            lines.flush()
