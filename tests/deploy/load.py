"""wrk as a load that hides nothing: it counts a connection that ends without an answer as an error, and does not try again."""

import atexit
import pathlib
import re
import signal
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from scripts import need  # noqa: E402


class Load:
    """Requests without a pause, until the outcome is asked for."""

    def __init__(self, url):
        command = [need("wrk", "wrk"), "-t1", "-c32", "-d300s", url]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        atexit.register(self.process.kill)

    def outcome(self):
        """How many were answered, and what wrk has to say of those that were not."""
        self.process.send_signal(signal.SIGINT)
        text = self.process.communicate()[0]
        errors = re.findall(r"Socket errors: .*|Non-2xx.*", text)
        return int(re.search(r"(\d+) requests in", text)[1]), ", ".join(errors)
