# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that runs as long as a with block."""

import http.server
import threading


class Serving:
    """Of a server that is bound; for classes to inherit from. Requests have threads of their own."""

    def __init__(self, server: http.server.ThreadingHTTPServer):
        self.server = server
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()
