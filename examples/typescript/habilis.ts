// What a client of Habilis needs: a card, calls with fhir-kit-client and plain ones, how to send again safely, a document, an authorisation.
//
// HABILIS_BASE and HABILIS_CERTS say where the server is and where its cards lie.
import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import Client from "fhir-kit-client";
import type { Bundle, BundleEntry, CodeableConcept, Consent, DocumentReference, FhirResource, List, PractitionerRole } from "fhir/r4";
import { Agent, fetch } from "undici";

const base = process.env.HABILIS_BASE ?? "https://localhost:8443/fhir";
const certs = process.env.HABILIS_CERTS ?? "certs/sandbox";

export const insSystem = "urn:oid:1.2.250.1.213.1.4.10";
export const professionals = "urn:oid:1.2.250.1.71.4.2.1";

type Kind = FhirResource["resourceType"];
type Of<K extends Kind> = Extract<FhirResource, { resourceType: K }>;
/** Headers, parameters of a search, a form. */
export type Fields = Record<string, string>;
export type JsonPatch = Parameters<Client["patch"]>[0]["JSONPatch"];

/** A refusal: its status, and what the server says of it: an OperationOutcome, as JSON. */
export class Refused extends Error {
  /** The connection was cut when this was sent before: that one may have been done. */
  afterCut = false;

  constructor(call: string, readonly status: number, readonly said: string, readonly retryAfter: string | null) {
    super(`${call}: ${status} ${said}`);
  }
}

// Sending again

/** What fhir-kit-client throws: no Error, and the headers are those of the answer. */
interface Thrown {
  response: { status: number; data: unknown };
  config: { method: string; url: string; headers: { get(name: string): string | null } };
}
const isThrown = (error: unknown): error is Thrown =>
  typeof error === "object" && error !== null && "response" in error && "config" in error;

const asError = (error: unknown): unknown => {
  if (!isThrown(error)) return error;
  const { response, config } = error;
  return new Refused(`${config.method} ${config.url}`, response.status, JSON.stringify(response.data), config.headers.get("retry-after"));
};

/** The connection ended before the whole answer was there: nobody knows whether the call was done. */
const wasCut = (error: unknown): boolean =>
  error instanceof TypeError && error.cause instanceof Error && "code" in error.cause &&
  ["UND_ERR_SOCKET", "ECONNRESET", "EPIPE"].includes(String(error.cause.code));

const mostRetries = 3;

/**
 * Makes a call; makes the same again, three times at most, where the server asks for it (503, 429: nothing was done) or the connection was cut.
 *
 * It is safe because the bytes are the same each time: the unique id of a document is drawn before, once, and a feed that was done already is
 * answered as the first time. Not all can be sent again so: an assertion counts once (docs/tokens.md), and after a cut 412 to a PATCH with If-Match
 * may mean that the first one was done.
 */
async function sendAgain<T>(call: () => Promise<T>): Promise<T> {
  let cut = false;
  for (let retries = 0; ; retries++) {
    try {
      return await call();
    } catch (thrown) {
      const error = asError(thrown);
      const askedTo = error instanceof Refused && [429, 503].includes(error.status);
      if (error instanceof Refused) error.afterCut = cut;
      if (retries === mostRetries || !(askedTo || wasCut(error))) throw error;
      cut ||= wasCut(error);
      const asked = askedTo ? Number(error.retryAfter ?? Number.NaN) : Number.NaN;
      // Unless it is told, and whenever the connection was cut: 1 s, 2 s, 4 s.
      await setTimeout(1000 * (Number.isNaN(asked) ? 2 ** retries : asked));
    }
  }
}

// Calls

/** Key and certificates of the card of that name. */
const card = (name: string) => ({
  ca: readFileSync(`${certs}/ca.pem`),
  cert: readFileSync(`${certs}/${name}.pem`),
  key: readFileSync(`${certs}/${name}.key`),
});

/** Whether a resource is of that kind. */
const is = <K extends Kind>(kind: K, resource: { resourceType: string }): resource is Of<K> => resource.resourceType === kind;

/** That resource, if it is of that kind. */
function expect<K extends Kind>(kind: K, resource: { resourceType: string }): Of<K> {
  if (!is(kind, resource)) throw new Error(`${kind} is expected, and there is ${resource.resourceType}`);
  return resource;
}

/** The resources of that kind in an answer to a search. */
export const found = <K extends Kind>(kind: K, bundle: Bundle): Of<K>[] =>
  (bundle.entry ?? []).flatMap(({ resource }) => (resource && is(kind, resource) ? [resource] : []));

/** What must be there. */
export function there<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`there is no ${what}`);
  return value;
}

/** Who calls: a card, and a session if one was opened. */
export class Caller {
  readonly #agent: Agent;
  readonly #token: string | undefined;
  readonly #fhir: Client;

  constructor(who: string | Agent, token?: string) {
    this.#agent = typeof who === "string" ? new Agent({ connect: card(who) }) : who;
    this.#token = token;
    // Node's own fetch, which the library uses, takes certificates by a dispatcher.
    this.#fhir = new Client({ baseUrl: base, requestOptions: { dispatcher: this.#agent }, bearerToken: token });
  }

  async search(kind: Kind, searchParams: Fields, headers: Fields = {}): Promise<Bundle> {
    return expect("Bundle", await sendAgain(() => this.#fhir.search({ resourceType: kind, searchParams, options: { headers } })));
  }

  async read<K extends Kind>(kind: K, id: string, headers: Fields = {}): Promise<Of<K>> {
    return expect(kind, await sendAgain(() => this.#fhir.read({ resourceType: kind, id, options: { headers } })));
  }

  async create<K extends Kind>(resource: Of<K>, headers: Fields = {}): Promise<Of<K>> {
    const { resourceType } = resource;
    return expect(resourceType, await sendAgain(() => this.#fhir.create({ resourceType, body: resource, options: { headers } })));
  }

  async patch(id: string, operations: JsonPatch, headers: Fields = {}): Promise<DocumentReference> {
    const params = { resourceType: "DocumentReference", id, JSONPatch: operations, options: { headers } };
    return expect("DocumentReference", await sendAgain(() => this.#fhir.patch(params)));
  }

  /** A change of the document of that unique id. The library's `patch` wants an id; its `request` takes any address. */
  async change(uniqueId: string, operations: JsonPatch, headers: Fields = {}): Promise<void> {
    const query = new URLSearchParams({ identifier: `urn:ietf:rfc:3986|urn:oid:${uniqueId}` });
    const body = JSON.stringify(operations);
    const options = { headers: { ...headers, "Content-Type": "application/json-patch+json" } };
    const changed = sendAgain(() => this.#fhir.request(`DocumentReference?${query}`, { method: "PATCH", options, body }));
    await changed.catch((error: unknown) => {
      // It was done before the cut: what is deleted, or masked to the caller himself, does not exist for him any more.
      if (!(error instanceof Refused && error.status === 404 && error.afterCut)) throw error;
    });
  }

  /** Documents in one transaction (ITI-65): all of them are taken, or none. */
  async transaction(bundle: Bundle & { type: "transaction" }, headers: Fields = {}): Promise<Bundle> {
    return expect("Bundle", await sendAgain(() => this.#fhir.transaction({ body: bundle, options: { headers } })));
  }

  /** What is no FHIR: a document's bytes, a token. */
  async plain(url: string, headers: Fields = {}, form?: Fields): Promise<Buffer> {
    const session: Fields = this.#token === undefined ? {} : { Authorization: `Bearer ${this.#token}` };
    const [method, body] = form ? ["POST", new URLSearchParams(form)] : ["GET", null];
    return sendAgain(async () => {
      const answer = await fetch(url, { method, headers: { ...session, ...headers }, body, dispatcher: this.#agent });
      const bytes = Buffer.from(await answer.arrayBuffer());
      if (!answer.ok) throw new Refused(`${method} ${url}`, answer.status, bytes.toString(), answer.headers.get("retry-after"));
      return bytes;
    });
  }

  /** The same card in a session (TD0.1, docs/tokens.md): a mode, a structure. The token counts over this certificate alone. */
  async session(form: Fields): Promise<Caller> {
    const answer = await this.plain(`${base.replace(/\/fhir$/, "")}/oauth2/token`, {}, { grant_type: "client_credentials", ...form });
    const { access_token } = JSON.parse(answer.toString()) as { access_token: string };
    return new Caller(this.#agent, access_token);
  }
}

/** The refusal that a call has to end with. */
export async function refusal(call: Promise<unknown>): Promise<Refused> {
  const ended: unknown = await call.then(() => undefined, (error: unknown) => error);
  if (ended instanceof Refused) return ended;
  throw ended ?? new Error("a refusal is expected, and the call was granted");
}

// What is sent

export const coded = (table: string, code: string): CodeableConcept => ({
  coding: [{ system: `https://mos.esante.gouv.fr/NOS/${table}/FHIR/${table.replaceAll("_", "-")}`, code }],
});

/** Labels of visibility: N, MASQUE_PS, INVISIBLE_PATIENT, INVISIBLE_REPRESENTANTS_LEGAUX. */
export const labelled = (labels: string[]): CodeableConcept[] => labels.map((label) => coded("TRE_A07-StatutVisibiliteDocument", label));

/** A unique id: the number of a UUID, under the OID that is for them. */
export const newUniqueId = (): string => `2.25.${BigInt(`0x${randomUUID().replaceAll("-", "")}`)}`;

export interface Described {
  uniqueId: string;
  ins: string;
  /** PS_IdNat of the professional, or the structure's. */
  author: string;
  type?: string;
  labels?: string[];
  /** Unique id of the document that this one takes the place of. */
  replaces?: string;
}

export interface Prepared {
  resource: DocumentReference;
  cda: Buffer;
}

/** A DocumentReference with the bytes of its CDA document (ITI-105). */
export function document({ uniqueId, ins, author, type = "11488-4", labels = [], replaces }: Described): Prepared {
  const cda = Buffer.from(`<?xml version="1.0" encoding="UTF-8"?>
<ClinicalDocument xmlns="urn:hl7-org:v3"><typeId root="2.16.840.1.113883.1.3" extension="POCD_HD000040"/>
<id root="${uniqueId}"/><code code="${type}" codeSystem="2.16.840.1.113883.6.1"/><title>Compte rendu</title>
<recordTarget><patientRole><id root="${insSystem.replace("urn:oid:", "")}" extension="${ins}"/></patientRole></recordTarget>
<component><structuredBody><component><section><text>Examen sans particularité.</text></section></component></structuredBody></component>
</ClinicalDocument>`);
  const role: PractitionerRole = { resourceType: "PractitionerRole", id: "auteur", identifier: [{ system: professionals, value: author }] };
  const resource: DocumentReference = {
    resourceType: "DocumentReference",
    contained: [role],
    masterIdentifier: named(uniqueId),
    status: "current",
    type: { coding: [{ system: "http://loinc.org", code: type }] },
    subject: { identifier: { system: insSystem, value: ins } },
    author: [{ reference: "#auteur" }],
    ...(labels.length > 0 ? { securityLabel: labelled(labels) } : {}),
    ...(replaces === undefined ? {} : { relatesTo: [{ code: "replaces", target: { identifier: named(replaces) } }] }),
    content: [{
      attachment: {
        contentType: "text/xml", language: "fr-FR", title: "Compte rendu de consultation",
        size: cda.length, hash: createHash("sha1").update(cda).digest("base64"), data: cda.toString("base64"),
      },
      format: {
        system: "https://mos.esante.gouv.fr/NOS/TRE_A06-FormatCodeComplementaire/FHIR/TRE-A06-FormatCodeComplementaire",
        code: "urn:ihe:iti:xds-sd:text:2008",
      },
    }],
    context: {
      period: { start: "2026-06-12T09:30:00+02:00" },
      facilityType: coded("TRE_R02-SecteurActivite", "SA07"),
      practiceSetting: coded("TRE_A01-CadreExercice", "AMBULATOIRE"),
    },
  };
  return { resource, cda };
}

const named = (uniqueId: string) => ({ system: "urn:ietf:rfc:3986", value: `urn:oid:${uniqueId}` });

/** Documents as one submission set (ITI-65): bytes as Binary resources of their own. */
export function submission(ins: string, author: string, documents: Prepared[]): Bundle & { type: "transaction" } {
  const ihe = "https://profiles.ihe.net/ITI/MHD";
  const source: PractitionerRole = { resourceType: "PractitionerRole", id: "source", identifier: [{ system: professionals, value: author }] };
  const parts = documents.map((one) => ({ ...one, reference: `urn:uuid:${randomUUID()}`, binary: `urn:uuid:${randomUUID()}` }));
  const set: List = {
    resourceType: "List",
    contained: [source],
    extension: [
      { url: `${ihe}/StructureDefinition/ihe-designationType`, valueCodeableConcept: coded("TRE_R209-TypeActivite", "07") },
      { url: `${ihe}/StructureDefinition/ihe-sourceId`, valueIdentifier: { system: "urn:ietf:rfc:3986", value: "urn:oid:1.2.250.1.213.9.9" } },
    ],
    identifier: [{ use: "usual", ...named(newUniqueId()) }],
    status: "current",
    mode: "working",
    code: { coding: [{ system: `${ihe}/CodeSystem/MHDlistTypes`, code: "submissionset" }] },
    subject: { reference: `Patient?identifier=${insSystem}|${ins}` },
    date: new Date().toISOString(),
    source: { reference: "#source" },
    entry: parts.map(({ reference }) => ({ item: { reference } })),
  };
  const posted = (fullUrl: string, resource: FhirResource): BundleEntry =>
    ({ fullUrl, resource, request: { method: "POST", url: resource.resourceType } });
  return {
    resourceType: "Bundle",
    type: "transaction",
    entry: [
      posted(`urn:uuid:${randomUUID()}`, set),
      ...parts.map(({ reference, binary, resource }) => posted(reference, {
        ...resource,
        content: resource.content.map((one) => ({ ...one, attachment: { ...one.attachment, data: undefined, url: binary } })),
      })),
      ...parts.map(({ binary, cda }) => posted(binary, { resourceType: "Binary", contentType: "text/xml", data: cda.toString("base64") })),
    ],
  };
}

/** The patient's authorisation, as a professional declares it for himself (TD0.3). */
export const consent = (ins: string): Consent => ({
  resourceType: "Consent", status: "active",
  scope: { coding: [{ system: "http://terminology.hl7.org/CodeSystem/consentscope", code: "patient-privacy" }] },
  category: [{ coding: [{ system: "http://loinc.org", code: "59284-0" }] }],
  patient: { identifier: { system: insSystem, value: ins } }, provision: { type: "permit" },
});
