"""What a program behind the gate tries when it has been taken over: prints how each attempt ended, as JSON."""
import ctypes
import json
import os
import resource
import socket
import subprocess
import sys
import time

data, outside, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
attempt = sys.argv[4]
agent = os.getppid()
libc = ctypes.CDLL(None, use_errno=True)


def call(function, *arguments):
    if getattr(libc, function)(*arguments) < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def connect():
    with socket.socket() as stream:
        stream.connect(("127.0.0.1", port))


def write(path, size=1):
    with open(path, "wb") as file:
        for _ in range(size):
            file.write(b"x" * 1024)


def many_files():
    kept = []
    while True:
        kept.append(os.open("/dev/null", os.O_RDONLY))


def bomb():
    """More and more processes, without end; one after the other, so that the machine stays usable for other tests."""
    while True:
        try:
            if os.fork() == 0:
                time.sleep(3600)
        except OSError:
            pass
        time.sleep(0.002)


def spin():
    while True:
        pass


def orphan():
    child = os.fork()
    if child == 0:
        null = os.open("/dev/null", os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(null, descriptor)
        time.sleep(600)
    return str(child)


def work():
    with open(__file__, "rb") as file:
        assert file.read()
    write(os.path.join(outside, "allowed", "note"))
    assert len(os.urandom(8)) == 8
    return subprocess.run(["/bin/echo", "done"], stdout=subprocess.PIPE, check=True).stdout.decode().strip()


def descriptors():
    found = []
    for number in range(3, 64):
        try:
            os.fstat(number)
            found.append(number)
        except OSError:
            pass
    return " ".join(map(str, found)) or "none"


attempts = {
    "keys": lambda: open(os.path.join(data, "seal.key"), "rb").read(),
    "folder": lambda: os.listdir(data),
    "memory of the agent": lambda: open(f"/proc/{agent}/mem", "rb").read(1),
    "environment of the agent": lambda: open(f"/proc/{agent}/environ", "rb").read(),
    "tcp": connect,
    "udp": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
    "raw": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 255),
    "packet": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "netlink": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0),
    "unix": lambda: socket.socket(socket.AF_UNIX),
    "ptrace": lambda: call("ptrace", 16, agent, 0, 0),
    "kill": lambda: os.kill(agent, 9),
    "limits of the agent": lambda: resource.prlimit(agent, resource.RLIMIT_NOFILE, (1, 1)),
    "limits of its own": lambda: resource.prlimit(0, resource.RLIMIT_AS, (1 << 40, 1 << 40)),
    "setsid": os.setsid,
    "namespace": lambda: call("unshare", 0x10000000),
    "mount": lambda: call("mount", b"none", b"/mnt", b"tmpfs", 0, 0),
    "write beside": lambda: write(os.path.join(outside, "note")),
    "write to /tmp": lambda: write("/tmp/countersign-attack"),
    "big file": lambda: write(os.path.join(outside, "allowed", "big"), 4096),
    "fill memory": lambda: bytearray(1 << 30),
    "many files": many_files,
    "environment": lambda: " ".join(sorted(set(os.environ) - {"LC_CTYPE"})),
    "descriptors": descriptors,
    "bomb": bomb,
    "spin": spin,
    "orphan": orphan,
    "work": work,
}

try:
    ended = attempts[attempt]()
    ended = ended if isinstance(ended, str) else "it worked"
except OSError as error:
    ended = os.strerror(error.errno)
except MemoryError:
    ended = "no memory"
sys.stdout.write(json.dumps(ended))
sys.stdout.flush()
os._exit(0)
