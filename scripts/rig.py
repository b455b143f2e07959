"""What the scripts that break a server share: a cluster of PostgreSQL, a server, a client, load, and what of it is still there."""
import base64, contextlib, hashlib, http.client, json, os, pathlib, re, shutil, socket, sqlite3, ssl, subprocess, sys, tempfile, threading, time

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
            if not named:
                sys.exit("there is no backend to kill")
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


class Patient:
    """The sandbox's own example, under another unique id each time: in the metadata and in the document."""

    def __init__(self, data):
        self.data = data
        self.text = (data / "examples" / "alimentation.json").read_text()
        resources = [entry["resource"] for entry in json.loads(self.text)["entry"]]
        reference = next(one for one in resources if one["resourceType"] == "DocumentReference")
        self.old = reference["masterIdentifier"]["value"].removeprefix("urn:oid:")
        self.body = base64.b64decode(next(one for one in resources if one["resourceType"] == "Binary")["data"])
        ins = reference["subject"]["reference"].split("identifier=")[1].replace("|", "%7C")
        self.search = f"/fhir/DocumentReference?patient.identifier={ins}&status=current"

    def document(self, unique):
        return self.body.replace(self.old.encode(), unique.encode())

    def feed(self, unique):
        """The submission."""
        bundle, document = json.loads(self.text.replace(self.old, unique)), self.document(unique)
        for entry in bundle["entry"]:
            resource = entry["resource"]
            if resource["resourceType"] == "Binary":
                resource["data"] = base64.b64encode(document).decode()
            if resource["resourceType"] == "DocumentReference":
                attachment = resource["content"][0]["attachment"]
                attachment["size"], attachment["hash"] = len(document), base64.b64encode(hashlib.sha1(document).digest()).decode()
        return json.dumps(bundle)

    def authorise(self, client):
        status, _, body = client.call("POST", "/fhir/Consent", (self.data / "examples/autorisation.json").read_text())
        if status not in (200, 201):
            sys.exit(f"the authorisation is answered {status}: {body.decode()}")

    def found(self, client, unique):
        """How many documents there are under a unique id, and whether the bytes of the one are those that were fed."""
        status, _, body = client.call("GET", f"{self.search}&identifier=urn:oid:{unique}")
        entries = [one for one in json.loads(body).get("entry") or [] if one["search"]["mode"] == "match"] if status == 200 else []
        if status != 200:
            sys.exit(f"a search is answered {status}: {body.decode()}")
        if len(entries) != 1:
            return len(entries), False
        url = entries[0]["resource"]["content"][0]["attachment"]["url"]
        status, _, body = client.call("GET", "/fhir/" + url.split("/fhir/")[1])
        return 1, status == 200 and body == self.document(unique)


class Load:
    """Four clients that feed and read until they are told to stop."""

    def __init__(self, certs, port, patient, number):
        self.certs, self.port, self.patient, self.number = certs, port, patient, number
        # When, unique id, request; when, request; unique ids of which nobody knows; what ought not to be; answers of 503.
        self.fed, self.read, self.doubt, self.wrong, self.unavailable = [], [], [], [], 0
        self.over = threading.Event()
        self.workers = [threading.Thread(target=self.work) for _ in range(4)]
        for worker in self.workers:
            worker.start()

    def work(self):
        unique = None
        try:
            client = Client(self.certs, self.port)
            while not self.over.is_set():
                unique = f"2.25.{next(self.number)}"
                status, request, told = client.call("POST", "/fhir", self.patient.feed(unique))
                if status == 200:
                    self.fed.append((time.monotonic(), unique, request))
                else:
                    self.doubt.append(unique)
                    self.judge(status, told)
                unique = None
                status, request, told = client.call("GET", f"{self.patient.search}&_count=1")
                if status == 200:
                    self.read.append((time.monotonic(), request))
                else:
                    self.judge(status, told)
        except (OSError, http.client.HTTPException, json.JSONDecodeError) as error:
            if unique:
                self.doubt.append(unique)
            # Behind the end nobody answers.
            if not self.over.is_set():
                self.wrong.append(repr(error))

    def judge(self, status, told):
        if status == 503 and json.loads(told)["resourceType"] == "OperationOutcome":
            self.unavailable += 1
        elif not self.over.is_set():
            self.wrong.append(f"{status}: {told.decode()}")

    def end(self):
        self.over.set()
        for worker in self.workers:
            worker.join()


def sent_again(client, patient, doubt):
    """What nobody knows of is sent again, as a client does: it is taken, whether or not it was."""
    fed = []
    for unique in doubt:
        status, request, told = client.call("POST", "/fhir", patient.feed(unique))
        if status != 200:
            sys.exit(f"a feed that is sent again is answered {status}: {told.decode()}")
        fed.append((time.monotonic(), unique, request))
    return fed


def missing(client, patient, fed):
    """How many of the documents fed are not there exactly once, and of how many the bytes are not those that were fed."""
    lost = torn = 0
    for _, unique, _ in fed:
        count, whole = patient.found(client, unique)
        lost += count != 1
        torn += count == 1 and not whole
    return lost, torn


def verified(binary, certs, data, cluster=None):
    """What `habilis audit verify` finds; None: nothing."""
    verify = [binary, "audit", "verify", "--data", data, "--certs", certs, "--patience", "4000000000"]
    verify += ["--database", cluster.url] if cluster else []
    done = subprocess.run(list(map(str, verify)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    return None if done.returncode == 0 else done.stdout


def traced(data, cluster):
    if cluster:
        command = ["runuser", "-u", "postgres", "--", str(cluster.bin / "psql"), cluster.url, "-Atc", "SELECT request_id FROM trace"]
        return set(subprocess.run(command, check=True, cwd="/", stdout=subprocess.PIPE, text=True).stdout.split())
    with contextlib.closing(sqlite3.connect(data / "habilis.db")) as database:
        return {request for (request,) in database.execute("SELECT request_id FROM trace")}
