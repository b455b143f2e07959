"""What the scripts that break a server share: a cluster of PostgreSQL, a server, a client, load, and what of it is still there."""
import base64, contextlib, hashlib, http.client, json, os, pathlib, re, shutil, socket, sqlite3, ssl, subprocess, sys, tempfile, time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def may_mount():
    """Root alone is not enough in a container."""
    with tempfile.TemporaryDirectory() as folder:
        if os.geteuid() != 0 or subprocess.run(["mount", "-t", "tmpfs", "none", folder], stderr=subprocess.DEVNULL).returncode:
            return False
        subprocess.run(["umount", folder], check=True)
        return True


class Postgres:
    """A cluster on the disk."""

    def __init__(self, folder):
        self.data = folder / "cluster"
        found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
        self.bin = found[-1]
        self.data.mkdir()
        shutil.chown(self.data, "postgres")
        os.chmod(folder, 0o755)
        self.call("initdb", "-D", self.data, "-U", "habilis", "-A", "trust", "-E", "UTF8", "--locale=C")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.pid = None
        self.url = f"postgres://habilis@127.0.0.1:{self.port}/postgres"

    def call(self, name, *arguments, check=True):
        command = ["runuser", "-u", "postgres", "--", str(self.bin / name), *map(str, arguments)]
        return subprocess.run(command, check=check, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def begin(self):
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c shared_buffers=64MB"
        # Behind a power cut no process of before is there any more; here one may still stand in the table of processes.
        (self.data / "postmaster.pid").unlink(missing_ok=True)
        began = time.monotonic()
        self.call("pg_ctl", "-D", self.data, "-w", "-t", "60", "-l", "/dev/null", "-o", options, "start")
        self.pid = int((self.data / "postmaster.pid").read_text().split()[0])
        return time.monotonic() - began

    def kill(self):
        if self.pid:
            children = subprocess.run(["pgrep", "-P", str(self.pid)], stdout=subprocess.PIPE, text=True).stdout.split()
            subprocess.run(["kill", "-9", str(self.pid), *children], check=False, stderr=subprocess.DEVNULL)
            self.pid = None
            time.sleep(0.2)


    def disturb(self, what):
        """All backends killed (PostgreSQL comes back by itself), or stopped so and started again."""
        if what == "backends killed":
            named = subprocess.run(["pgrep", "-P", str(self.pid), "-f", "postgres: habilis"], stdout=subprocess.PIPE, text=True).stdout.split()
            # One that is killed takes the others down: not all are found any more.
            subprocess.run(["kill", "-9", *named], check=False, stderr=subprocess.DEVNULL)
        elif what == "postmaster killed":
            self.kill()
            self.begin()
        else:
            self.call("pg_ctl", "-D", self.data, "-w", "-m", what.split()[0], "stop")
            self.begin()


class Server:
    def __init__(self, binary, data, certs, database, fault=None, *more, environment=None):
        environment = os.environ | (environment or {})
        if fault:
            environment["HABILIS_FAULT"] = fault
        command = [binary, "sandbox", "--api", "127.0.0.1:0", "--portal", "127.0.0.1:0", "--workers", "2", "--even-answers", "0",
                   "--data", data, "--certs", certs, *more]
        if database:
            command += ["--database", database]
        self.process = subprocess.Popen(list(map(str, command)), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.port = None
        for line in self.process.stdout:
            found = re.search(r"https://localhost:(\d+)/", line)
            if found and not self.port:
                self.port = int(found[1])
            if line == "ready\n":
                return
        sys.exit("the server does not start")

    def kill(self):
        self.process.kill()
        self.process.wait()


class Client:
    def __init__(self, certs, port):
        context = ssl.create_default_context(cafile=str(certs / "ca.pem"))
        context.load_cert_chain(certs / "cps-medecin.pem", certs / "cps-medecin.key")
        self.connection = http.client.HTTPSConnection("localhost", port, context=context, timeout=20)

    def call(self, method, path, body=None):
        self.connection.request(method, path, body, {"Content-Type": "application/fhir+json"} if body else {})
        answer = self.connection.getresponse()
        return answer.status, answer.headers.get("X-Request-Id"), answer.read()


def load(certs, port, example, patient, cut, number, fed, read, refused):
    """Feeds and reads until there is no answer any more."""
    try:
        client = Client(certs, port)
        while not cut.is_set():
            unique = f"2.25.{next(number)}"
            status, request, told = client.call("POST", "/fhir", example(unique))
            if status == 200:
                fed.append((time.monotonic(), unique, request))
            elif status != 503:
                refused.append(f"{status}: {told.decode()}")
                return
            status, request, _ = client.call("GET", f"/fhir/DocumentReference?{patient}&_count=1")
            if status == 200:
                read.append((time.monotonic(), request))
    except (OSError, http.client.HTTPException):
        pass


def example_of(data):
    """The sandbox's own example, under another unique id each time: in the metadata and in the document."""
    text = (data / "examples" / "alimentation.json").read_text()
    first = json.loads(text)
    resources = [entry["resource"] for entry in first["entry"]]
    reference = next(one for one in resources if one["resourceType"] == "DocumentReference")
    old = reference["masterIdentifier"]["value"].removeprefix("urn:oid:")
    body = base64.b64decode(next(one for one in resources if one["resourceType"] == "Binary")["data"])

    def example(unique):
        bundle = json.loads(text.replace(old, unique))
        document = body.replace(old.encode(), unique.encode())
        for entry in bundle["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "Binary":
                resource["data"] = base64.b64encode(document).decode()
            if resource["resourceType"] == "DocumentReference":
                attachment = resource["content"][0]["attachment"]
                attachment["size"], attachment["hash"] = len(document), base64.b64encode(hashlib.sha1(document).digest()).decode()
        return json.dumps(bundle)

    ins = reference["subject"]["reference"].split("identifier=")[1].replace("|", "%7C")
    return example, f"patient.identifier={ins}&status=current"


def traced(data, cluster):
    if cluster:
        command = ["runuser", "-u", "postgres", "--", str(cluster.bin / "psql"), cluster.url, "-Atc", "SELECT request_id FROM trace"]
        return set(subprocess.run(command, check=True, cwd="/", stdout=subprocess.PIPE, text=True).stdout.split())
    with contextlib.closing(sqlite3.connect(data / "habilis.db")) as database:
        return {request for (request,) in database.execute("SELECT request_id FROM trace")}
