"""An SMTP server with STARTTLS (aiosmtpd) and an HTTPS receiver, for the suite: what arrives is written down, a file each.

    sinks.py CERTIFICATE KEY FOLDER      prints the two ports, then serves until it is killed

FOLDER/behaviour says how mail is answered: ok, 451, 550, or hold (written down, and not answered while the file says so).
"""
import asyncio, http.server, itertools, json, pathlib, ssl, sys, threading

from aiosmtpd.smtp import SMTP

certificate, key, folder = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
numbers = itertools.count(1)
behaviour = lambda: (folder / "behaviour").read_text().strip()


def write(kind, said):
    number = next(numbers)
    part = folder / f"{number:04}.part"
    part.write_text(json.dumps(said))
    part.rename(folder / f"{number:04}.{kind}")


class Handler:
    async def handle_DATA(self, server, session, envelope):
        if behaviour() in ("451", "550"):
            return behaviour() + " <" + envelope.rcpt_tos[0] + "> no"
        write("mail", {"to": envelope.rcpt_tos, "text": envelope.content.decode(), "tls": bool(session.ssl)})
        while behaviour() == "hold":
            await asyncio.sleep(0.05)
        return "250 OK"


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        refused = behaviour() in ("451", "550")
        peer = self.connection.getpeercert()
        write("refused" if refused else "post", {"peer": str(peer and peer.get("subject")), "path": self.path, "headers": {name.lower(): value for name, value in self.headers.items()}, "body": body})
        self.send_response(503 if refused else 204)
        self.end_headers()

    def log_message(self, *_):
        pass


def context():
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


def asking():
    # Who connects may say who he is: what he presents leads to the roots, or there is no connection.
    made = context()
    made.verify_mode = ssl.CERT_OPTIONAL
    made.load_verify_locations(pathlib.Path(certificate).parent / "ca.pem")
    return made


async def main():
    loop = asyncio.get_running_loop()
    tls = context()
    smtp = await loop.create_server(lambda: SMTP(Handler(), hostname="localhost", tls_context=tls, require_starttls=True, loop=loop), "127.0.0.1", 0)
    receiver = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    receiver.socket = asking().wrap_socket(receiver.socket, server_side=True)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    print(smtp.sockets[0].getsockname()[1], receiver.server_address[1], flush=True)
    await smtp.serve_forever()


asyncio.run(main())
