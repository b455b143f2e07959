import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Stream;

/**
 * A practice software's day against Habilis, with the JDK alone (17 or newer): feed, find, read, mask, emergency.
 *
 * <pre>
 *   cargo run --release -- sandbox                                                 # in one terminal
 *   javac -d target/java examples/java/*.java && java -cp target/java Day          # in another
 * </pre>
 *
 * HABILIS_BASE and HABILIS_CERTS say where the server is and where its cards lie.
 */
final class Day {
    static final String INS_SYSTEM = "urn:oid:1.2.250.1.213.1.4.10";
    private static final String INS = "185067599900166";
    private static final String NOS = "https://mos.esante.gouv.fr/NOS";

    private Day() {
    }

    public static void main(String[] arguments) throws Exception {
        Habilis author = Habilis.with("cps-medecin");
        Habilis reader = Habilis.with("cps-medecin-b");
        String patient = INS_SYSTEM + "|" + INS;

        Object record = author.get("/Patient?" + Habilis.query("identifier", patient)).expect(200).json();
        System.out.println("record: " + Json.at(record, "total") + " open: " + Json.at(record, "entry", 0, "resource", "active"));

        Document document = Document.of(newUniqueId(), "Examen sans particularité.", "810100000016", INS, "11488-4");
        String id = Json.text(author.post("/DocumentReference", document.resource()).expect(201).json(), "id");
        // Sent again, it is answered as the first time: retry without fear.
        Object again = author.post("/DocumentReference", document.resource()).expect(201).json();
        System.out.println("fed: " + id + " again: " + id.equals(Json.text(again, "id")));

        // Whoever reads, and whoever changes what he fed, has the patient's authorisation.
        for (Habilis doctor : List.of(author, reader)) {
            doctor.post("/Consent", consent(INS)).expect(201);
        }
        String search = "/DocumentReference?" + Habilis.query(
                "patient.identifier", patient, "status", "current", "identifier", "urn:oid:" + document.uniqueId());
        Object found = reader.get(search).expect(200).json();
        System.out.println("found: " + Json.at(found, "total"));
        String url = Json.text(found, "entry", 0, "resource", "content", 0, "attachment", "url");
        byte[] read = reader.get(url, "Accept", "*/*").expect(200).bytes();
        System.out.println("read as fed: " + Arrays.equals(read, document.bytes()));

        System.out.println("masked, version: " + Json.text(mask(author, id, "1"), "meta", "versionId"));
        System.out.println("the other finds: " + Json.at(reader.get(search).expect(200).json(), "total"));
        System.out.println("and reads: " + reader.get("/DocumentReference/" + id).status());

        Habilis emergency = Habilis.with("cps-infirmier").session(
                "grant_type", "client_credentials", "scope", "ITI-67 ITI-68", "purpose_of_use", "bris_de_glace",
                "motif", "patient inconscient", "patient", patient);
        String all = "/DocumentReference?" + Habilis.query("patient.identifier", patient, "status", "current");
        Object inEmergency = emergency.get(all).expect(200).json();
        boolean among = Json.list(inEmergency, "entry").stream().anyMatch(entry -> id.equals(Json.text(entry, "resource", "id")));
        System.out.println("in an emergency: " + Json.text(inEmergency, "resourceType") + " masked among them: " + among);
    }

    /** Masks the version that we mean (If-Match), and gives the document as it is then. */
    private static Object mask(Habilis author, String id, String version) throws IOException, InterruptedException {
        Object masked = coded("TRE_A07-StatutVisibiliteDocument", "MASQUE_PS");
        Habilis.Body patch = Habilis.Body.patch(Json.object("op", "add", "path", "/securityLabel/-", "value", masked));
        Habilis.Answer answer = author.call("PATCH", "/DocumentReference/" + id, patch, "If-Match", "W/\"" + version + "\"");
        if (answer.status() == 412) {
            // There is another version: ours, if the first answer was lost, or somebody else's. Read again, and decide.
            Object now = author.get("/DocumentReference/" + id).expect(200).json();
            if (Json.list(now, "securityLabel").stream().anyMatch(label -> "MASQUE_PS".equals(Json.text(label, "coding", 0, "code")))) {
                return now;
            }
        }
        return answer.expect(200).json();
    }

    /** A unique id of our own making: draw one per document, and keep it for as long as the document is sent. */
    static String newUniqueId() {
        return "2.25." + new BigInteger(UUID.randomUUID().toString().replace("-", ""), 16);
    }

    /** A code of the NOS. */
    static Map<String, Object> coded(String table, String code) {
        return coding(NOS + "/" + table + "/FHIR/" + table.replace('_', '-'), code);
    }

    private static Map<String, Object> coding(String system, String code) {
        return Json.object("coding", List.of(Json.object("system", system, "code", code)));
    }

    /** The patient's authorisation, as a professional declares it (TD0.3). */
    static Map<String, Object> consent(String ins) {
        return Json.object(
                "resourceType", "Consent", "status", "active",
                "scope", coding("http://terminology.hl7.org/CodeSystem/consentscope", "patient-privacy"),
                "category", List.of(coding("http://loinc.org", "59284-0")),
                "patient", Json.object("identifier", Json.object("system", INS_SYSTEM, "value", ins)),
                "provision", Json.object("type", "permit"));
    }

    /** A DocumentReference with its bytes (ITI-105). */
    record Document(String uniqueId, byte[] bytes, Map<String, Object> resource) {
        static Document of(String uniqueId, String text, String author, String ins, String type, String... labels) {
            byte[] cda = """
                    <?xml version="1.0" encoding="UTF-8"?>
                    <ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
                    <id root="%s"/><code code="%s" codeSystem="2.16.840.1.113883.6.1"/><title>Compte rendu</title>
                    <recordTarget><patientRole><id root="%s" extension="%s"/></patientRole></recordTarget>
                    <component><structuredBody><component><section><text>%s</text></section></component></structuredBody></component>
                    </ClinicalDocument>""".formatted(uniqueId, type, INS_SYSTEM.replace("urn:oid:", ""), ins, text).getBytes(StandardCharsets.UTF_8);
            Base64.Encoder base64 = Base64.getEncoder();
            Map<String, Object> attachment = Json.object(
                    "contentType", "text/xml", "language", "fr-FR", "title", "Compte rendu de consultation",
                    "size", cda.length, "hash", base64.encodeToString(sha1(cda)), "data", base64.encodeToString(cda));
            Map<String, Object> format = Json.object(
                    "system", NOS + "/TRE_A06-FormatCodeComplementaire/FHIR/TRE-A06-FormatCodeComplementaire",
                    "code", "urn:ihe:iti:xds-sd:text:2008");
            return new Document(uniqueId, cda, Json.object(
                    "resourceType", "DocumentReference",
                    "contained", List.of(Json.object("resourceType", "PractitionerRole", "id", "auteur",
                            "identifier", List.of(Json.object("system", "urn:oid:1.2.250.1.71.4.2.1", "value", author)))),
                    "masterIdentifier", Json.object("system", "urn:ietf:rfc:3986", "value", "urn:oid:" + uniqueId),
                    "status", "current",
                    "type", type(type),
                    "subject", Json.object("identifier", Json.object("system", INS_SYSTEM, "value", ins)),
                    "author", List.of(Json.object("reference", "#auteur")),
                    "securityLabel", labels.length == 0 ? null : securityLabels(labels),
                    "content", List.of(Json.object("attachment", attachment, "format", format)),
                    "context", Json.object(
                            "period", Json.object("start", "2026-06-12T09:30:00+02:00"),
                            "facilityType", coded("TRE_R02-SecteurActivite", "SA07"),
                            "practiceSetting", coded("TRE_A01-CadreExercice", "AMBULATOIRE"))));
        }

        /** Types of documents are LOINC's, and some of the NOS's own, which begin with a letter. */
        private static Map<String, Object> type(String code) {
            return Character.isDigit(code.charAt(0)) ? coding("http://loinc.org", code) : coded("TRE_A05-TypeDocComplementaire", code);
        }

        /** The DMP's hash of a document: that of the very bytes that are sent. */
        private static byte[] sha1(byte[] bytes) {
            try {
                return MessageDigest.getInstance("SHA-1").digest(bytes);
            } catch (GeneralSecurityException fault) {
                throw new IllegalStateException(fault);
            }
        }
    }

    static List<Map<String, Object>> securityLabels(String... codes) {
        return Stream.of(codes).map(code -> coded("TRE_A07-StatutVisibiliteDocument", code)).toList();
    }
}
