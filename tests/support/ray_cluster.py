"""A Ray cluster of two nodes on this machine, in a process of its own, as a test's fixture starts it.

Prints the address; each line of stdin kills the node that is not the head and starts another; the end of
stdin ends all. Not in the test's own process: pytest-socket and strict warnings are not for ray.
"""

import os
import sys

SMALL = {"num_cpus": 1, "object_store_memory": 80 << 20}


def say(line):
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main():
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    cluster = Cluster()
    cluster.add_node(**SMALL, include_dashboard=False)
    other = cluster.add_node(**SMALL)
    say(f"address {cluster.address}")
    for _ in sys.stdin:
        cluster.remove_node(other, allow_graceful=False)
        say("killed")
        other = cluster.add_node(**SMALL)
        say("begun")
    cluster.shutdown()


if __name__ == "__main__":
    main()
