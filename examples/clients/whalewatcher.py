#!/usr/bin/env python3
"""Prints the live containers and each change, forever: whalewatcher.py [SOCKET]"""

import http.client
import json
import socket
import sys
import time


class Server(http.client.HTTPConnection):
    def __init__(self, path):
        # A stream has at least a comment in 15 s.
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def events(path):
    """Yields each event. After a lost connection it goes on behind the last one."""
    last, data = {}, None
    while True:
        try:
            server = Server(path)
            server.request("GET", "/v1/events", headers=last)
            answer = server.getresponse()
            for line in answer if answer.status == 200 else ():
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "id":
                    newest = {"Last-Event-ID": value}
                elif name == "data":
                    data = value
                elif not name and data:
                    event, data, last = json.loads(data), None, newest
                    yield event
        except (OSError, http.client.HTTPException):
            pass
        data = None
        time.sleep(1)


for event in events(sys.argv[1] if len(sys.argv) > 1 else "/run/whalewatcher.sock"):
    # A snapshot replaces what is known; see docs/json.md for the other events.
    for container in event.get("containers", []) if event["event"] == "snapshot" else []:
        print("alive", container["name"], flush=True)
    if "container" in event:
        print(event["event"], event["container"]["name"], flush=True)
