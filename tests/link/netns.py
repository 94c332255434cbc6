"""Two network namespaces with a TUN device each, and commands inside, by Linux's system calls alone.

Nothing here has a name in the file system. A namespace lives as long as its file descriptor or a process in it, a device as
long as its descriptor, and every command runs in a process namespace of its own whose first process dies with us: so that
kill -9 leaves nothing behind and any number of links can stand side by side with the same addresses.
"""

import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys

CLIENT, SERVER = "192.0.2.1", "192.0.2.2"  # TEST-NET-1 of RFC 5737: nobody's
MTU = 1500
NEWNS, NEWPID, NEWNET = 0x00020000, 0x20000000, 0x40000000
MS_NOSUID_NODEV_NOEXEC, MS_REC_PRIVATE, PR_SET_PDEATHSIG = 2 | 4 | 8, 0x4000 | 0x40000, 1
TUNSETIFF, IFF_TUN_NO_PI = 0x400454CA, 0x0001 | 0x1000
SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCSIFADDR, SIOCSIFNETMASK, SIOCSIFMTU = 0x8913, 0x8914, 0x8916, 0x891C, 0x8922
IFF_UP = 1
# rtnetlink, of linux/rtnetlink.h and linux/netlink.h.
NETLINK_ROUTE, RTM_NEWROUTE, NLM_F_REQUEST, NLM_F_ACK, NLM_F_REPLACE, NLM_F_CREATE = 0, 24, 1, 4, 0x100, 0x400
RT_TABLE_MAIN, RTPROT_KERNEL, RT_SCOPE_LINK, RTN_UNICAST = 254, 2, 253, 1
RTA_DST, RTA_OIF, RTA_METRICS, RTAX_CC_ALGO = 1, 4, 8, 16

libc = ctypes.CDLL(None, use_errno=True)


def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}: {os.strerror(error)}")


def die_with_parent():
    call("prctl", PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Namespace:
    """A network namespace: `net` keeps it alive, `tun` is its end of the link (packets without a header, not blocking)."""

    def __init__(self, address, congestion):
        before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("unshare", NEWNET)
            self.net = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            tune()
            # Not called tun: Chromium takes a machine with nothing but tunnels for one that is offline.
            self.tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(self.tun, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TUN_NO_PI))
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
                up(control, b"lo")
                set_address(control, SIOCSIFADDR, address)
                set_address(control, SIOCSIFNETMASK, "255.255.255.0")
                fcntl.ioctl(control, SIOCSIFMTU, struct.pack("16si20x", b"eth0", MTU))
                up(control, b"eth0")
            route(congestion)
        finally:
            call("setns", before, NEWNET)
            os.close(before)


def set_address(control, request, address):
    fcntl.ioctl(control, request, struct.pack("16sHH4s16x", b"eth0", socket.AF_INET, 0, socket.inet_aton(address)))


def up(control, name):
    flags = struct.unpack("16sH22x", fcntl.ioctl(control, SIOCGIFFLAGS, struct.pack("16sH22x", name, 0)))[1]
    fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sH22x", name, flags | IFF_UP))


def route(congestion):
    """The way to the other end, with a TCP congestion control of its own: `tcp_congestion_control` takes, in a namespace, only
    what the whole machine allows everybody. As `ip route replace 192.0.2.0/24 dev eth0 congctl NAME`."""
    def attribute(kind, value):
        return struct.pack("HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)

    metrics = attribute(RTAX_CC_ALGO, congestion.encode() + b"\0")
    body = struct.pack("BBBBBBBBI", socket.AF_INET, 24, 0, 0, RT_TABLE_MAIN, RTPROT_KERNEL, RT_SCOPE_LINK, RTN_UNICAST, 0)
    body += attribute(RTA_DST, socket.inet_aton("192.0.2.0")) + attribute(RTA_OIF, struct.pack("I", socket.if_nametoindex("eth0")))
    body += attribute(RTA_METRICS, metrics)
    flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_REPLACE | NLM_F_CREATE
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_ROUTE) as netlink:
        netlink.send(struct.pack("IHHII", 16 + len(body), RTM_NEWROUTE, flags, 1, 0) + body)
        error = -struct.unpack_from("i", netlink.recv(4096), 16)[0]
    if error:
        raise OSError(error, f"TCP congestion control {congestion!r}: {os.strerror(error)} (net.ipv4.tcp_available_congestion_control lists what there is)")


def tune():
    """TCP as a stock Debian has it, whatever this machine is tuned to; no IPv6, so that a link is silent until it is used."""
    settings = {
        "ipv6/conf/all/disable_ipv6": "1",
        "ipv6/conf/default/disable_ipv6": "1",
        "ipv4/tcp_rmem": "4096 131072 6291456",
        "ipv4/tcp_wmem": "4096 16384 4194304",
    }
    for name, value in settings.items():
        path = f"/proc/sys/net/{name}"
        if name.startswith("ipv6") and not os.path.exists(path):
            continue
        try:
            with open(path, "w") as f:
                f.write(value)
        except OSError as e:
            raise OSError(e.errno, f"cannot set {path} to {value!r}: {e.strerror}") from e


def spawn(namespace, argv, env, output=None):
    """Starts a command in the namespace; its process id, which ends with the command's code (128 + n for signal n), and
    passes SIGTERM on. `output`: a descriptor for its stdout and stderr. Ctrl-C reaches it through the terminal."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        die_with_parent()
        if os.getppid() != parent:
            os._exit(1)
        signal.set_wakeup_fd(-1)
        if output is not None:
            os.dup2(output, 1), os.dup2(output, 2)
        call("setns", namespace.net, NEWNET)
        call("unshare", NEWPID | NEWNS)
        call("mount", None, b"/", None, MS_REC_PRIVATE, None)
        alive, held = os.pipe()
        first = os.fork()
        if first == 0:
            os.close(held)
            die_with_parent()
            # A parent that died before that line has closed its end.
            os.set_blocking(alive, False)
            try:
                gone = os.read(alive, 1) == b""
            except BlockingIOError:
                gone = False
            os._exit(1 if gone else lead(argv, env))
        os._exit(wait_passing_on(first))
    except BaseException as e:  # Whatever it is, this process must not go on as a second copy of its parent.
        print(f"link: cannot start {argv[0]}: {e}", file=sys.stderr, flush=True)
        os._exit(126)


def lead(argv, env):
    """The first process of a process namespace: when it ends, the kernel kills what is left in it."""
    call("mount", b"proc", b"/proc", b"proc", MS_NOSUID_NODEV_NOEXEC, None)
    command = os.fork()
    if command == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        try:
            os.execvpe(argv[0], argv, {**os.environ, **env})
        except OSError as e:
            print(f"link: cannot run {argv[0]}: {e.strerror}", file=sys.stderr, flush=True)
            os._exit(127)
    return wait_passing_on(command)


def wait_passing_on(command):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: os.kill(command, signal.SIGTERM))
    while True:
        try:
            pid, status = os.wait()
        except ChildProcessError:
            return 1
        if pid == command:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code
