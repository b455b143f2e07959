// A practice software's day against Habilis, in TypeScript with fhir-kit-client: feed, find, read, mask, emergency.
//
//   cargo run --release -- sandbox                                                  # in one terminal
//   (cd examples/typescript && npm ci && npx tsc)                                   # in another
//   node examples/typescript/dist/day.js
//
// HABILIS_BASE and HABILIS_CERTS say where the server is and where its cards lie.
import { Caller, coded, consent, document, found, insSystem, newUniqueId, refusal, there } from "./habilis.js";

const ins = "185067599900166";
const patient = `${insSystem}|${ins}`;

const [author, reader] = [new Caller("cps-medecin"), new Caller("cps-medecin-b")];
const record = await author.search("Patient", { identifier: patient });
console.log("record:", record.total, "open:", found("Patient", record)[0]?.active);

const uniqueId = newUniqueId();
const { resource, cda } = document({ uniqueId, ins, author: "810100000016" });
const fed = await author.create(resource);
// Sent again, it is answered as the first time: retry without fear.
const again = await author.create(resource);
const id = there(fed.id, "id");
console.log("fed:", id, "again:", again.id === id);

// Whoever reads, and whoever changes what he fed, has the patient's authorisation.
for (const doctor of [author, reader]) await doctor.create(consent(ins));
const query = { "patient.identifier": patient, status: "current", identifier: `urn:oid:${uniqueId}` };
const search = await reader.search("DocumentReference", query);
console.log("found:", search.total);
const url = there(found("DocumentReference", search)[0]?.content[0]?.attachment.url, "address of the document");
console.log("read as fed:", (await reader.plain(url)).equals(cda));

const masked = await author.patch(id, [{ op: "add", path: "/securityLabel/-", value: coded("TRE_A07-StatutVisibiliteDocument", "MASQUE_PS") }]);
console.log("masked, version:", masked.meta?.versionId);
const others = await reader.search("DocumentReference", query);
console.log("the other finds:", others.total);
console.log("and reads:", (await refusal(reader.read("DocumentReference", id))).status);

const nurse = new Caller("cps-infirmier");
const emergency = await nurse.session({ scope: "ITI-67 ITI-68", purpose_of_use: "bris_de_glace", motif: "patient inconscient", patient });
const seen = await emergency.search("DocumentReference", { "patient.identifier": patient, status: "current" });
const ids = found("DocumentReference", seen).map((one) => one.id);
console.log("in an emergency:", seen.resourceType, "masked among them:", ids.includes(id));
