"""An S3 service in memory (moto) with one bucket, for benches/uplink.py: `s3_server.py ADDRESS PORT BUCKET`. Says `ready`,
and at SIGTERM what the bucket holds.

Unlike moto's own command it keeps connections open between requests, as S3 does: a new one for every object would be what a
distant link is slow at.
"""

import signal
import sys
import threading

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server


class Handler(MotoRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body of an answer are two writes: without this the second waits a round trip for the first's acknowledgement.
    disable_nagle_algorithm = True

    def send_header(self, name, value):
        # werkzeug says "Connection: close" with every answer.
        if name.lower() != "connection":
            super().send_header(name, value)

    def log_request(self, *_):
        pass


def main(address, port, bucket):
    server = make_server(address, int(port), DomainDispatcherApplication(create_backend_app), threaded=True, request_handler=Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    import boto3  # After moto, which it would otherwise be asked to speak to.

    s3 = boto3.client("s3", endpoint_url=f"http://{address}:{port}", region_name="us-east-1", aws_access_key_id="bench", aws_secret_access_key="bench")
    s3.create_bucket(Bucket=bucket)
    print("ready", flush=True)
    told.wait()
    sizes = [o["Size"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket) for o in page.get("Contents", [])]
    print(f"holds {len(sizes)} objects, {sum(sizes)} bytes", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
