"""An internet in a box, for the demo and the tests: hosts, NATs, a wall.

    with Lab() as lab:
        laptop, home = lab.host("laptop"), lab.router("home", nat=True)
        wall, site = lab.wall(), lab.host("site")
        lab.lan("flat", laptop, home)
        lab.link(home, wall)
        lab.link(wall, site, delay=0.01)
        lab.resolver(site)
        serve_web(site, "news.example")
        wall.reset("news.example")
        print(laptop.run(["curl", "-v", "https://news.example/"]).stderr)

Stands beside the command line: in comes a description, out goes a network that real programs run
in. The machine's own network is not touched: every link is made inside a namespace, and every
namespace goes with the processes that hold it, however the lab's own process ends.
"""

from byway.lab.capture import Capture
from byway.lab.host import Host, Router
from byway.lab.lab import Lab
from byway.lab.process import NotReady, Process
from byway.lab.services import Sshd, serve_echo, serve_ftp, serve_ssh, serve_web
from byway.lab.space import Unavailable, missing, sweep_stale
from byway.lab.wall import Wall

__all__ = [
    "Capture",
    "Host",
    "Lab",
    "NotReady",
    "Process",
    "Router",
    "Sshd",
    "Unavailable",
    "Wall",
    "missing",
    "serve_echo",
    "serve_ftp",
    "serve_ssh",
    "serve_web",
    "sweep_stale",
]
