"""A DNS server whose answers change, sites on several addresses, and calls through the gateway.

Usage: rebinding_sites.py SERVICE
Runs in a network namespace whose resolver asks 127.0.0.1. Prints a JSON object: the responses to the
calls, the connections to each address, the look-ups of each name, and the forbidden addresses that
are reachable without the gateway.
"""

import collections
import ipaddress
import json
import socket
import struct
import subprocess
import sys
import threading
import time

import httpx

PUBLIC, LOOPBACK, PRIVATE, METADATA = "93.184.216.34", "127.0.0.2", "10.1.2.3", "169.254.169.254"
API = "http://127.0.0.1:8000"
A, CNAME, AAAA = 1, 5, 28

# Each look-up of a name takes the next answer. The last one is repeated.
NAMES = {
    "public.golf.example": [[PUBLIC]],
    "flips.golf.example": [[PUBLIC], [LOOPBACK]],
    "mixed.golf.example": [[PUBLIC, LOOPBACK]],
    "mixed-forbidden-first.golf.example": [[PRIVATE, PUBLIC]],
    "alias-of-public.golf.example": [["public.golf.example"]],
    "alias-of-private.golf.example": [["inner.golf.example"]],
    "inner.golf.example": [[PRIVATE]],
    "metadata.golf.example": [[METADATA]],
    "loopback.golf.example": [[LOOPBACK]],
    "mapped.golf.example": [["::ffff:127.0.0.2"]],
    "nat64.golf.example": [["64:ff9b::7f00:2"]],
    # The file of hosts has no name with a dot at its end.
    "localhost": [[LOOPBACK]],
}
lookups = collections.Counter()
connections = collections.Counter()


def encode_name(name):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return labels + b"\0"


def record(name, value):
    """Returns an address record or an alias, with a lifetime of 0 s."""
    try:
        address = ipaddress.ip_address(value)
        kind, data = (A if address.version == 4 else AAAA), address.packed
    except ValueError:
        kind, data = CNAME, encode_name(value)
    return kind, encode_name(name) + struct.pack("!HHIH", kind, 1, 0, len(data)) + data


def records_of(name, kind):
    """Returns the records of a name, followed by those of its alias."""
    answers = NAMES[name]
    current = answers[min(lookups[name], len(answers) - 1)]
    # A resolver asks for both kinds of addresses, which is one look-up.
    lookups[name] += kind == A
    found = []
    for value in current:
        of_value, data = record(name, value)
        if of_value in (kind, CNAME):
            found.append(data)
        if of_value == CNAME:
            found += records_of(value, kind)
    return found


def serve_names():
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 53))
    while True:
        query, client = server.recvfrom(512)
        labels, position = [], 12
        while query[position]:
            labels.append(query[position + 1 : position + 1 + query[position]].decode())
            position += 1 + query[position]
        name, end = ".".join(labels).lower(), position + 5
        (kind,) = struct.unpack("!H", query[position + 1 : position + 3])
        is_known = name in NAMES
        found = records_of(name, kind) if is_known else []
        flags = 0x8580 if is_known else 0x8583
        head = query[:2] + struct.pack("!HHHHH", flags, 1, len(found), 0, 0)
        server.sendto(head + query[12:end] + b"".join(found), client)


def serve_sites():
    """Answers on all addresses of the namespace, and counts the connections to each of them."""
    server = socket.create_server(("", 80))
    while True:
        connection, _ = server.accept()
        connections[connection.getsockname()[0]] += 1
        with connection:
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def call(host):
    """Calls a host through the gateway, and returns status, code and outcome."""
    session = {"cookies": {}, "base_url": f"http://{host}/"}
    created = httpx.post(f"{API}/v1/sessions", json=session).raise_for_status().json()
    token = {"Authorization": f"Bearer {created['access_token']}"}
    answer = httpx.get(f"{API}/v1/upstream/", headers=token, timeout=20)
    if "via" in answer.headers:
        return answer.status_code, None, None
    problem = answer.json()
    return answer.status_code, problem["code"], problem["outcome"]


def is_live():
    try:
        return httpx.get(f"{API}/health/live").status_code == 200
    except httpx.TransportError:
        return False


def is_reachable(address):
    with socket.create_connection((address, 80), timeout=5) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        return connection.recv(15) == b"HTTP/1.1 200 OK"


def main():
    for serve in (serve_names, serve_sites):
        threading.Thread(target=serve, daemon=True).start()
    flags = ["--api-port", "8000", "--allow-anonymous-clients", "true", "--upstream-gateway", "true"]
    flags += ["--upstream-allow-http", "true", "--allowed-base-hosts", ".golf.example,localhost"]
    service = subprocess.Popen([sys.argv[1], "serve", *flags], stdout=sys.stderr, env={})
    try:
        until = time.monotonic() + 20
        while not is_live() and time.monotonic() < until:
            time.sleep(0.05)
        hosts = [name for name in NAMES if name != "inner.golf.example"]
        calls = {host: call(host) for host in [*hosts, "localhost.", "localhost", "unknown.golf.example"]}
        calls["flips.golf.example again"] = call("flips.golf.example")
        seen = {"calls": calls, "connections": dict(connections), "lookups": dict(lookups)}
        seen["reachable"] = [address for address in (LOOPBACK, PRIVATE, METADATA) if is_reachable(address)]
        print(json.dumps(seen))
    finally:
        service.kill()


main()
