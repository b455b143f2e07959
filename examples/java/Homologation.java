import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Plays the homologation kit of a sandbox (docs/homologation.md), with the JDK alone: opens a run, plays rows, prints what the kit says of them.
 *
 * <pre>
 *   cargo run --release -- sandbox                                                     # in one terminal
 *   javac -d target/java examples/java/*.java && java -cp target/java Homologation     # in another
 * </pre>
 *
 * HABILIS_BASE, HABILIS_CERTS and HABILIS_PORTAL say where the server is, where cards lie, and where the portal is.
 */
final class Homologation {
    private static final String PORTAL = System.getenv().getOrDefault("HABILIS_PORTAL", "http://127.0.0.1:8080");
    private static final String MASKED = "MASQUE_PS";
    private static final String HIDDEN = "INVISIBLE_PATIENT";
    private static final String FROM_PARENTS = "INVISIBLE_REPRESENTANTS_LEGAUX";
    private static final Map<String, Object> DELETE = Json.object("op", "replace", "path", "/status", "value", "entered-in-error");
    private static final Map<String, Object> ARCHIVE = Json.object("op", "add", "path", "/extension/-", "value", Json.object(
            "url", "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived", "valueBoolean", true));
    /** A call that is of no row in particular: it prepares one. */
    private static final String NO_ROW = "no row";

    private final HttpClient portal = HttpClient.newHttpClient();
    private final List<String> unexpected = new ArrayList<>();
    private final Object run;
    private final String id;
    private final Habilis doctor;
    private final Habilis secretary;
    private final String doctorNumber;
    private final String structure;

    private Homologation() throws IOException, InterruptedException, GeneralSecurityException {
        run = portal("POST", "", 201, "name", "Exemple", "software", "Homologation.java 1.0", "profile", "Alimentation, consultation");
        id = Json.text(run, "id");
        doctor = card("cps-medecin");
        secretary = card("cpe-secretaire");
        doctorNumber = Json.text(run, "professionals", 0);
        structure = "3750000101/" + id + "E";
    }

    public static void main(String[] arguments) throws Exception {
        Homologation kit = new Homologation();
        kit.existence();
        kit.authorisations();
        kit.feeding();
        kit.opposition();
        kit.searches();
        kit.reads();
        kit.changes();
        System.exit(kit.report() ? 0 : 1);
    }

    private void existence() throws IOException, InterruptedException {
        exists("0.1-060#1", "inexistant");
        exists("0.2-010", "inexistant");
        exists("0.1-060#2", "ouvert");
        exists("0.2-030", "ouvert");
        exists("0.2-060", "expire");
        Object found = exists("0.2-040", "autorise");
        get("1.3a-010", doctor, "/Patient/" + Json.text(found, "entry", 0, "resource", "id"));
        // A temporary number: nobody has a record under one.
        get("0.2-080", doctor, "/Patient", "identifier", "urn:oid:1.2.250.1.213.1.4.9|" + ins("inexistant"));
    }

    private void authorisations() throws IOException, InterruptedException, GeneralSecurityException {
        declare("0.3-010", doctor, "ouvert");
        exists("0.3-010", "ouvert");
        declare("0.3-100", secretary, "sansquinze");
        // What the structure was authorised for is open to who acts for it.
        Habilis forStructure = card("cps-medecin-b").session("grant_type", "client_credentials", "structure", "1750000101");
        find("0.3-100", forStructure, "sansquinze");
        feed(NO_ROW, 201, "ouvert", "CERT_DECL");
        declare("TNR-03#1", doctor, "ouvert");
        find("TNR-03#1", doctor, "ouvert", "type", "CERT_DECL");
        Habilis pharmacist = card("cps-pharmacien");
        declare(NO_ROW, pharmacist, "autorise");
        find("0.1-140", pharmacist, "autorise");
        Habilis physiotherapist = card("cps-kine");
        declare(NO_ROW, physiotherapist, "autorise");
        find("0.1-150", physiotherapist, "autorise");
        String me = "urn:oid:1.2.250.1.71.4.2.1|" + doctorNumber;
        get("0.4-010", doctor, "/Consent", "actor:identifier", me, "status", "active", "date", "ge2011-03-01");
        get("1.6-010", doctor, "/Consent", "patient.identifier", patient("complet"));
        get("1.6-030", doctor, "/Consent", "patient.identifier", patient("complet"), "status", "active", "provision-type", "deny");
    }

    private void feeding() throws IOException, InterruptedException {
        feedForStructure("0.1-120", 201, "ouvert", "11490-0");
        feedForStructure("2.2-010", 201, "ouvert", "11490-0");
        feed("0.1-110", 201, "ouvert", "11488-4");
        feed("2.1-050", 201, "ouvert", "34874-8", "N", MASKED);
        feed("2.1-060", 201, "ouvert", "34112-3", "N", HIDDEN);
        feed("TNR-01#6", 201, "mineur", "11488-4", "N", FROM_PARENTS);
        feed("2.1-600", 201, "mineur", "11488-4", "N", FROM_PARENTS);
        feed("0.1-300#5c", 201, "mineur", "11488-4", "N");
        replace("2.1-140#1", feed(NO_ROW, 201, "ouvert", "11488-4", "N", HIDDEN), "ouvert", "11488-4", "N", HIDDEN);
        String deleted = feed(NO_ROW, 201, "ouvert", "11488-4");
        lookUp("TNR-01#3", "ouvert", deleted);
        change("TNR-01#3", doctor, deleted, DELETE);
    }

    /** After the patient's opposition one does not feed, and may still delete what one fed before. */
    private void opposition() throws IOException, InterruptedException {
        String own = feed(NO_ROW, 201, "oppose", "11488-4");
        String ofStructure = feedForStructure(NO_ROW, 201, "oppose", "11488-4");
        portal("POST", "/" + id + "/patients/oppose/opposer", 204);
        feed("2.1-970#3", 403, "oppose", "11488-4");
        feedForStructure("2.2-980#3", 403, "oppose", "11488-4");
        change("2.1-970#5", doctor, own, DELETE);
        change("2.2-980#5", secretary, ofStructure, DELETE);
    }

    private void searches() throws IOException, InterruptedException {
        find("3.1-005", doctor, "complet");
        find("3.1-090", doctor, "complet", "type", "11506-3");
        find("3.1-100", doctor, "complet", "type", "11506-3,15507-7");
        find("3.1-040", doctor, "complet", "type", "34112-3", "isArchived", "true,false");
        find("3.1-110", doctor, "complet", "period-start", "ge2010");
        find("3.1-130", doctor, "complet", "period-start", "ge2010", "period-end", "le2027-03-20");
        get("3.1-400", doctor, "/List", "patient.identifier", patient("complet"), "code", "submissionset", "status", "current",
                "date", "ge2025-05-26T09:00:00Z", "_include", "List:item");
        Habilis emergency = doctor.session("grant_type", "client_credentials", "scope", "ITI-67 ITI-68",
                "purpose_of_use", "bris_de_glace", "motif", "patient inconscient", "patient", patient("urgence"));
        find("3.1-150", emergency, "urgence");
    }

    private void reads() throws IOException, InterruptedException {
        Map<String, String> rows = Map.of("18748-4 image/tiff", "3.2-010", "70004-7 text/plain", "3.2-020");
        for (Object document : documents("complet")) {
            String media = Json.text(document, "content", 0, "attachment", "contentType");
            if (media.equals("text/rtf")) {
                find("3.2-030", doctor, "complet", "isArchived", "true");
                read("3.2-030", document);
            } else {
                read(rows.getOrDefault(type(document) + " " + media, NO_ROW), document);
            }
        }
        read("3.2-150", documents("traite").get(0));
    }

    private void changes() throws IOException, InterruptedException {
        change("3.3-050", doctor, uniqueId(documents("traite").get(0)), label("N"));
        Map<String, String> byType = new HashMap<>();
        documents("complet").forEach(document -> byType.putIfAbsent(type(document), uniqueId(document)));
        change("3.3-060", doctor, byType.get("70004-7"), label("N"));
        change("3.3-160", doctor, byType.get("15507-7"), label("N", MASKED));
        change("3.3-070", doctor, feed(NO_ROW, 201, "autorise", "11506-3"), DELETE);
        String lookedUp = feed(NO_ROW, 201, "autorise", "11505-5");
        lookUp("3.3-540", "autorise", lookedUp);
        change("3.3-540", doctor, lookedUp, DELETE);
        change("3.3-120", doctor, feed(NO_ROW, 201, "autorise", "11502-2"), ARCHIVE);
    }

    /** Prints what the kit saw; whether all went well. */
    private boolean report() throws IOException, InterruptedException {
        Object report = portal("GET", "/" + id + "/rapport.json", 200);
        unexpected.forEach(one -> System.out.println("unexpected: " + one));
        for (Object row : Json.list(report, "rows")) {
            if (Json.text(row, "verdict").equals("failed")) {
                System.out.println("failed: " + new String(Json.write(row), StandardCharsets.UTF_8));
            }
        }
        System.out.printf("run %s: %s passed, %s failed, %s not played%n",
                Json.at(report, "run"), Json.at(report, "passed"), Json.at(report, "failed"), Json.at(report, "notPlayed"));
        return unexpected.isEmpty() && Json.at(report, "failed").toString().equals("0");
    }

    /** A card that was issued for this run. */
    private Habilis card(String name) throws IOException, GeneralSecurityException {
        return Habilis.with(id.toLowerCase() + "-" + name);
    }

    private String ins(String role) {
        return Json.text(run, "patients", role, "ins");
    }

    private String patient(String role) {
        return Day.INS_SYSTEM + "|" + ins(role);
    }

    /** One call of a row. What is answered otherwise than expected is noted, and the play goes on. */
    private Habilis.Answer play(String row, Habilis by, int expected, String method, String path, Habilis.Body body, String... headers)
            throws IOException, InterruptedException {
        Stream<String> named = row.equals(NO_ROW) ? Stream.empty() : Stream.of("X-Habilis-Case", row);
        Habilis.Answer answer = by.call(method, path, body, Stream.concat(named, Arrays.stream(headers)).toArray(String[]::new));
        if (answer.status() != expected) {
            unexpected.add(row + ": " + expected + " is expected: " + answer);
        }
        return answer;
    }

    private Object get(String row, Habilis by, String path, String... query) throws IOException, InterruptedException {
        return play(row, by, 200, "GET", path + "?" + Habilis.query(query), Habilis.Body.NONE).json();
    }

    private Object exists(String row, String role) throws IOException, InterruptedException {
        return get(row, doctor, "/Patient", "identifier", patient(role));
    }

    private Object find(String row, Habilis by, String role, String... more) throws IOException, InterruptedException {
        String[] always = {"patient.identifier", patient(role), "status", "current"};
        return get(row, by, "/DocumentReference", Stream.of(always, more).flatMap(Arrays::stream).toArray(String[]::new));
    }

    /** The reference of one's own document, which one may have without reading right (TD3.1b). */
    private void lookUp(String row, String role, String uniqueId) throws IOException, InterruptedException {
        get(row, doctor, "/DocumentReference", "patient.identifier", patient(role), "identifier", identifier(uniqueId));
    }

    private List<Object> documents(String role) throws IOException, InterruptedException {
        Object found = find(NO_ROW, doctor, role, "isArchived", "true,false", "_count", "50");
        return Json.list(found, "entry").stream().map(entry -> Json.at(entry, "resource")).toList();
    }

    private void read(String row, Object document) throws IOException, InterruptedException {
        String url = Json.text(document, "content", 0, "attachment", "url");
        play(row, doctor, 200, "GET", url, Habilis.Body.NONE, "Accept", "*/*");
    }

    private void declare(String row, Habilis by, String role) throws IOException, InterruptedException {
        play(row, by, 201, "POST", "/Consent", Habilis.Body.fhir(Day.consent(ins(role))));
    }

    /** ITI-105; the unique id of what was fed. */
    private String feed(String row, int expected, String role, String type, String... labels) throws IOException, InterruptedException {
        return feed(row, doctor, expected, document(doctorNumber, role, type, labels));
    }

    private String feedForStructure(String row, int expected, String role, String type) throws IOException, InterruptedException {
        return feed(row, secretary, expected, document(structure, role, type));
    }

    private void replace(String row, String replaced, String role, String type, String... labels) throws IOException, InterruptedException {
        Day.Document document = document(doctorNumber, role, type, labels);
        Map<String, Object> target = Json.object("system", "urn:ietf:rfc:3986", "value", "urn:oid:" + replaced);
        document.resource().put("relatesTo", List.of(Json.object("code", "replaces", "target", Json.object("identifier", target))));
        feed(row, doctor, 201, document);
    }

    private String feed(String row, Habilis by, int expected, Day.Document document) throws IOException, InterruptedException {
        play(row, by, expected, "POST", "/DocumentReference", Habilis.Body.fhir(document.resource()));
        return document.uniqueId();
    }

    private Day.Document document(String author, String role, String type, String... labels) {
        return Day.Document.of(Day.newUniqueId(), "Examen sans particularité.", author, ins(role), type, labels);
    }

    private void change(String row, Habilis by, String uniqueId, Map<String, Object> operation) throws IOException, InterruptedException {
        String path = "/DocumentReference?" + Habilis.query("identifier", identifier(uniqueId));
        play(row, by, 200, "PATCH", path, Habilis.Body.patch(operation));
    }

    private static Map<String, Object> label(String... codes) {
        return Json.object("op", "replace", "path", "/securityLabel", "value", Day.securityLabels(codes));
    }

    private static String identifier(String uniqueId) {
        return "urn:ietf:rfc:3986|urn:oid:" + uniqueId;
    }

    private static String type(Object document) {
        return Json.text(document, "type", "coding", 0, "code");
    }

    private static String uniqueId(Object document) {
        return Json.text(document, "masterIdentifier", "value").replaceFirst("^urn:oid:", "");
    }

    /** The portal asks for no card. Nothing is sent again here: a run that is asked for twice is two. */
    private Object portal(String method, String path, int expected, String... form) throws IOException, InterruptedException {
        HttpRequest request = HttpRequest.newBuilder(URI.create(PORTAL + "/homologation" + path))
                .header("Accept", "application/json").header("Content-Type", "application/x-www-form-urlencoded")
                .method(method, BodyPublishers.ofString(Habilis.query(form))).build();
        Habilis.Answer answer = new Habilis.Answer(portal.send(request, BodyHandlers.ofByteArray())).expect(expected);
        return answer.bytes().length > 0 ? answer.json() : null;
    }
}
