# SPDX-License-Identifier: Apache-2.0
"""Threads that run as long as a with block."""

import threading


class Threads:
    """One for each function; they end when they see that `stopping` is set."""

    def __init__(self, functions):
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=function) for function in functions]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stopping.set()
        for thread in self.threads:
            thread.join()
