#!/usr/bin/env python3
"""A heater as it was shipped: its own small HTTP interface, no authentication.

    heater.py [ADDRESS] [PORT]        0.0.0.0 and 8080 where they are left out
"""
import json
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer

state = {"on": False, "celsius": 19.5, "target": 20.0, "starts": 0}


class Heater(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/status":
            return self.answer(200, state)
        self.answer(404, {"error": "no such page"})

    def do_PUT(self):
        wanted = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        if self.path == "/target":
            if not 5 <= wanted["celsius"] <= 30:
                return self.answer(422, {"error": "5 to 30"})
            state["target"] = wanted["celsius"]
            return self.answer(200, state)
        if self.path == "/power":
            state["on"] = bool(wanted["on"])
            state["starts"] += state["on"]
            return self.answer(200, state)
        self.answer(404, {"error": "no such page"})

    def do_POST(self):
        if self.path == "/boost":
            state["on"], state["target"] = True, 30.0
            return self.answer(200, {"target": 30.0})
        self.answer(404, {"error": "no such page"})

    def answer(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


address = sys.argv[1] if len(sys.argv) > 1 else "0.0.0.0"
port = int(sys.argv[2]) if len(sys.argv) > 2 else 8080
HTTPServer((address, port), Heater).serve_forever()
