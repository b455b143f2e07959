// Plays the homologation kit of a sandbox (docs/homologation.md): opens a run, plays rows, prints what the kit says of them.
//
//   cargo run --release -- sandbox                                                  # in one terminal
//   (cd examples/typescript && npm ci && npx tsc)                                   # in another
//   node examples/typescript/dist/homologation.js
//
// HABILIS_BASE, HABILIS_CERTS and HABILIS_PORTAL say where the server is, where cards lie, and where the portal is.
import type { Bundle, DocumentReference } from "fhir/r4";
import {
  Caller, consent, type Described, document, type Fields, found, insSystem, type JsonPatch, labelled, newUniqueId, professionals, refusal, submission,
  there,
} from "./habilis.js";

const portal = process.env.HABILIS_PORTAL ?? "http://127.0.0.1:8080";

const masked = "MASQUE_PS", hidden = "INVISIBLE_PATIENT", fromParents = "INVISIBLE_REPRESENTANTS_LEGAUX";
const deleted: JsonPatch = [{ op: "replace", path: "/status", value: "entered-in-error" }];
const label = (...labels: string[]): JsonPatch => [{ op: "replace", path: "/securityLabel", value: labelled(labels) }];
const archived: JsonPatch = [{ op: "add", path: "/extension/-", value: {
  url: "https://interop.esante.gouv.fr/ig/fhir/pdsm/StructureDefinition/pdsm-ext-is-archived", valueBoolean: true,
} }];

/** Says which row a call plays. Without it (null) a call counts for every row that it happens to play. */
const playing = (row: string | null): Fields => (row === null ? {} : { "X-Habilis-Case": row });

/** Of a run, as the portal gives it. */
interface Opened {
  id: string;
  patients: Record<string, { ins: string }>;
  professionals: string[];
}

/** Of the report of a run. */
interface Report {
  run: string;
  passed: number;
  failed: number;
  notPlayed: number;
  rows: { code: string; verdict: string; finding?: string; element?: string; rule?: string }[];
}

/** What the portal answers. */
async function ask<T>(path: string, form?: Fields): Promise<T> {
  const headers = { Accept: "application/json" };
  const answer = await fetch(`${portal}${path}`, form ? { method: "POST", headers, body: new URLSearchParams(form) } : { headers });
  if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

/** A card, and by which id its documents name their author. */
interface Player {
  caller: Caller;
  author: string;
}

/** A run of the kit: its cards, its patients, and the calls of which rows are made. */
class Run {
  readonly doctor: Player;
  readonly secretary: Player;

  constructor(readonly opened: Opened) {
    this.doctor = { caller: this.card("cps-medecin"), author: there(opened.professionals[0], "doctor") };
    this.secretary = { caller: this.card("cpe-secretaire"), author: `3750000101/${opened.id}E` };
  }

  static async open(): Promise<Run> {
    const asked = { name: "Exemple", software: "homologation.ts 1.0", profile: "Alimentation, consultation" };
    return new Run(await ask<Opened>("/homologation", asked));
  }

  card(name: string): Caller {
    return new Caller(`${this.opened.id.toLowerCase()}-${name}`);
  }

  ins(role: string): string {
    return there(this.opened.patients[role], role).ins;
  }

  patient(role: string): string {
    return `${insSystem}|${this.ins(role)}`;
  }

  exists(row: string, role: string, system = insSystem): Promise<Bundle> {
    return this.doctor.caller.search("Patient", { identifier: `${system}|${this.ins(role)}` }, playing(row));
  }

  async find(row: string | null, role: string, more: Fields = {}, by = this.doctor.caller): Promise<DocumentReference[]> {
    const query = { "patient.identifier": this.patient(role), status: "current", ...more };
    return found("DocumentReference", await by.search("DocumentReference", query, playing(row)));
  }

  declare(row: string | null, role: string, by = this.doctor.caller): Promise<unknown> {
    return by.create(consent(this.ins(role)), playing(row));
  }

  /** Feeds a document (ITI-105); its unique id. */
  async feed(row: string | null, role: string, described: Partial<Described> = {}, by = this.doctor): Promise<string> {
    const uniqueId = newUniqueId();
    const { resource } = document({ uniqueId, ins: this.ins(role), author: by.author, ...described });
    await by.caller.create(resource, playing(row));
    return uniqueId;
  }

  /** Feeds documents of these types in one transaction (ITI-65). */
  submit(row: string, role: string, types: string[]): Promise<Bundle> {
    const { caller, author } = this.doctor;
    const ins = this.ins(role);
    const documents = types.map((type) => document({ uniqueId: newUniqueId(), ins, author, type }));
    return caller.transaction(submission(ins, author, documents), playing(row));
  }

  /** The reference of one's own document, without reading right (TD3.1b). */
  lookUp(row: string, role: string, uniqueId: string): Promise<Bundle> {
    const query = { "patient.identifier": this.patient(role), identifier: `urn:ietf:rfc:3986|urn:oid:${uniqueId}` };
    return this.doctor.caller.search("DocumentReference", query, playing(row));
  }

  change(row: string, uniqueId: string, operations: JsonPatch, by = this.doctor): Promise<void> {
    return by.caller.change(uniqueId, operations, playing(row));
  }

  read(row: string | null, { content }: DocumentReference): Promise<Buffer> {
    return this.doctor.caller.plain(there(content[0]?.attachment.url, "address of the document"), playing(row));
  }

  patientActs(role: string, act: string): Promise<void> {
    return ask(`/homologation/${this.opened.id}/patients/${role}/${act}`, {});
  }
}

/** The unique id of a document that was found. */
const uniqueIdOf = ({ masterIdentifier }: DocumentReference): string => there(masterIdentifier?.value, "unique id").replace("urn:oid:", "");
const typeOf = ({ type }: DocumentReference): string => type?.coding?.[0]?.code ?? "";
const mediaOf = ({ content }: DocumentReference): string => content[0]?.attachment.contentType ?? "";

async function existence(run: Run): Promise<void> {
  for (const row of ["0.1-060#1", "0.2-010"]) await run.exists(row, "inexistant");
  for (const row of ["0.1-060#2", "0.2-030"]) await run.exists(row, "ouvert");
  await run.exists("0.2-060", "expire");
  const [patient] = found("Patient", await run.exists("0.2-040", "autorise"));
  await run.doctor.caller.read("Patient", there(patient?.id, "patient"), playing("1.3a-010"));
  await run.exists("0.2-080", "inexistant", "urn:oid:1.2.250.1.213.1.4.9");
}

async function authorisations(run: Run): Promise<void> {
  await run.declare("0.3-010", "ouvert");
  await run.exists("0.3-010", "ouvert");
  await run.declare("0.3-100", "sansquinze", run.secretary.caller);
  // What the structure was authorised for is open to who acts for it.
  await run.find("0.3-100", "sansquinze", {}, await run.card("cps-medecin-b").session({ structure: "1750000101" }));
  await run.declare("TNR-03#1", "ouvert");
  await run.feed(null, "ouvert", { type: "CERT_DECL" });
  await run.find("TNR-03#1", "ouvert", { type: "CERT_DECL" });
  for (const [row, name] of [["0.1-140", "cps-pharmacien"], ["0.1-150", "cps-kine"]] as const) {
    const caller = run.card(name);
    await run.declare(null, "autorise", caller);
    await run.find(row, "autorise", {}, caller);
  }
  const { caller, author } = run.doctor;
  const since = { "actor:identifier": `${professionals}|${author}`, status: "active", date: "ge2011-03-01" };
  await caller.search("Consent", since, playing("0.4-010"));
  await caller.search("Patient", { "_has:DocumentReference:patient:_lastUpdated": "ge2010-03-01" }, playing("0.4-020"));
  const patient = run.patient("complet");
  await caller.search("Consent", { "patient.identifier": patient }, playing("1.6-010"));
  await caller.search("Consent", { "patient.identifier": patient, "provision-type": "deny" }, playing("1.6-030"));
}

async function feeding(run: Run): Promise<void> {
  for (const row of ["0.1-120", "2.2-010"]) await run.feed(row, "ouvert", { type: "11490-0" }, run.secretary);
  await run.feed("0.1-110", "ouvert");
  await run.feed("2.1-050", "ouvert", { type: "34874-8", labels: ["N", masked] });
  await run.feed("2.1-060", "ouvert", { type: "34112-3", labels: ["N", hidden] });
  for (const row of ["TNR-01#6", "2.1-600"]) await run.feed(row, "mineur", { labels: ["N", fromParents] });
  const own = await run.feed(null, "ouvert");
  await run.lookUp("TNR-01#3", "ouvert", own);
  await run.change("TNR-01#3", own, deleted);
}

/** Versions of one document: hidden from the patient, then shown; it cannot be hidden again. */
async function replacing(run: Run): Promise<void> {
  let current = await run.feed(null, "ouvert", { labels: ["N", hidden] });
  for (const [row, ...labels] of [
    ["2.1-140#1", "N", hidden], ["2.1-140#2", "N", hidden], ["2.1-140#2", "N", hidden], ["2.1-140#3", "N"], ["2.1-140#4", "N"],
  ] as const) {
    current = await run.feed(row, "ouvert", { labels: [...labels], replaces: current });
  }
  await refusal(run.feed("2.1-140#4", "ouvert", { labels: ["N", hidden], replaces: current }));
}

/** The documents of a submission set, in one transaction (ITI-65). */
async function submitting(run: Run): Promise<void> {
  for (const [row, ...types] of [["TNR-02", "11488-4"], ["2.1-013", "11488-4"], ["2.1-020", "11490-0", "11488-4"]] as const) {
    await run.submit(row, "ouvert", [...types]);
  }
  await run.feed("2.1-010", "ouvert", { type: "11490-0" });
  await run.submit("2.1-010", "ouvert", ["11490-0"]);
}

/** What was fed before the patient opposed may still be replaced and deleted; nothing new is taken. */
async function opposition(run: Run): Promise<void> {
  const players = [["2.1-970", run.doctor], ["2.2-980", run.secretary]] as const;
  const fed: { row: string; by: Player; first: string; second: string }[] = [];
  for (const [row, by] of players) {
    fed.push({ row, by, first: await run.feed(null, "oppose", {}, by), second: await run.feed(null, "oppose", {}, by) });
  }
  await run.patientActs("oppose", "opposer");
  for (const { row, by, first, second } of fed) {
    await refusal(run.feed(`${row}#3`, "oppose", {}, by));
    await run.feed(`${row}#4`, "oppose", { replaces: first }, by);
    await run.change(`${row}#5`, second, deleted, by);
  }
}

/** A secret connection to the record of a minor: what it feeds is hidden from the parents, and what they have seen is not hidden again. */
async function secret(run: Run): Promise<void> {
  const session = await run.doctor.caller.session({ connexion_secrete: "true", patient: run.patient("mineur") });
  const secretly = { ...run.doctor, caller: session };
  const labels = ["N", fromParents];
  const feed = () => run.feed("0.1-300#3a", "mineur", { labels }, secretly);
  await feed();
  const [second, third, fourth] = [await feed(), await feed(), await feed()];
  await run.feed("0.1-300#3b", "mineur", { labels, replaces: second }, secretly);
  await run.change("0.1-300#3c", third, deleted, secretly);
  await run.find("0.1-300#3d", "mineur", {}, session);
  const shown = await run.feed("0.1-300#5a", "mineur", { labels: ["N"], replaces: fourth });
  await refusal(run.feed("0.1-300#5b", "mineur", { labels, replaces: shown }));
  const visible = await run.feed("0.1-300#5c", "mineur", { labels: ["N"] });
  await refusal(run.feed("0.1-300#6", "mineur", { labels, replaces: visible }, secretly));
  await refusal(run.change("0.1-300#7", shown, label(...labels)));
}

async function searches(run: Run): Promise<void> {
  for (const [row, more] of [
    ["3.1-005", {}], ["3.1-090", { type: "11506-3" }], ["3.1-100", { type: "11506-3,15507-7" }],
    ["3.1-040", { type: "34112-3", isArchived: "true,false" }], ["3.1-110", { "period-start": "ge2010" }],
    ["3.1-130", { "period-start": "ge2010", "period-end": "le2027-03-20" }],
  ] as const) {
    await run.find(row, "complet", more);
  }
  const sets = { "patient.identifier": run.patient("complet"), code: "submissionset", status: "current", date: "ge2025-05-26T09:00:00Z" };
  await run.doctor.caller.search("List", { ...sets, _include: "List:item" }, playing("3.1-400"));
  const emergency = await run.doctor.caller.session({
    scope: "ITI-67 ITI-68", purpose_of_use: "bris_de_glace", motif: "patient inconscient", patient: run.patient("urgence"),
  });
  await run.find("3.1-150", "urgence", {}, emergency);
}

async function reads(run: Run): Promise<void> {
  const rows: Fields = { "18748-4 image/tiff": "3.2-010", "70004-7 text/plain": "3.2-020", "34112-3 text/rtf": "3.2-030" };
  const complete = await run.find("3.2-030", "complet", { isArchived: "true,false", _count: "50" });
  for (const one of complete) await run.read(rows[`${typeOf(one)} ${mediaOf(one)}`] ?? null, one);
  // The masked document of another: its reader is the médecin traitant.
  const [one] = await run.find(null, "traite");
  await run.read("3.2-150", there(one, "masked document"));
}

async function changes(run: Run): Promise<void> {
  const [one] = await run.find(null, "traite");
  await run.change("3.3-050", uniqueIdOf(there(one, "masked document")), label("N"));
  for (const [row, type, operations] of [["3.3-060", "70004-7", label("N")], ["3.3-160", "15507-7", label("N", masked)]] as const) {
    const [of] = await run.find(null, "complet", { type });
    await run.change(row, uniqueIdOf(there(of, type)), operations);
  }
  await run.change("3.3-070", await run.feed(null, "autorise", { type: "11506-3" }), deleted);
  await run.change("3.3-080", await run.feed(null, "autorise", { type: "BIL_AUTO", labels: ["N", masked] }), deleted);
  await run.change("3.3-120", await run.feed(null, "autorise", { type: "11502-2" }), archived);
  const own = await run.feed(null, "autorise", { type: "11505-5" });
  await run.lookUp("3.3-540", "autorise", own);
  await run.change("3.3-540", own, deleted);
}

const run = await Run.open();
const unexpected: string[] = [];
// What one part needs of another is looked for in the record: each is played, whatever became of those before.
for (const part of [existence, authorisations, feeding, replacing, submitting, opposition, secret, searches, reads, changes]) {
  await part(run).catch((error: unknown) => unexpected.push(`${part.name}: ${error}`));
}
const report = await ask<Report>(`/homologation/${run.opened.id}/rapport.json`);
for (const one of unexpected) console.log("unexpected:", one);
for (const { code, verdict, finding, element, rule } of report.rows) {
  if (verdict === "failed") console.log("failed:", code, finding, element, rule);
}
console.log(`run ${report.run}: ${report.passed} passed, ${report.failed} failed, ${report.notPlayed} not played`);
process.exitCode = report.failed > 0 || unexpected.length > 0 ? 1 : 0;
