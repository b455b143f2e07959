//! What a sandbox says when it is ready: the first calls to try, to be pasted as they are.

use super::SandboxOptions;
use crate::api::portal::demonstration::{FirstCall, Platform};
use crate::server::Listening;

#[derive(Clone, Debug)]
pub(super) struct Greeting {
    certs: String,
    data: String,
    api_port: u16,
    provider: String,
}

/// What the three calls do.
const WHAT: [(&str, &str); 3] = [
    ("Le patient a-t-il un DMP ? (TD0.2)", "Has the patient a record? (TD0.2)"),
    ("Alimenter le DMP d'un document CDA (TD2.1, ITI-65)", "Feed the record a CDA document (TD2.1, ITI-65)"),
    (
        "Un autre médecin : autorisation (TD0.3), recherche (TD3.1, ITI-67), lecture (TD3.2, ITI-68)",
        "Another doctor: authorisation (TD0.3), search (TD3.1, ITI-67), read (TD3.2, ITI-68)",
    ),
];
const INS: &str = "urn:oid:1.2.250.1.213.1.4.10%7C279035121518989";

impl Greeting {
    pub fn new(options: &SandboxOptions, provider: &str) -> Self {
        Self {
            certs: options.certs.display().to_string(),
            data: options.data.display().to_string(),
            api_port: options.api.port(),
            provider: provider.to_owned(),
        }
    }

    /// Three calls: does the record exist; feed; authorise, find and read.
    pub fn calls(&self, platform: Platform) -> Vec<FirstCall> {
        let commands = match platform {
            Platform::Unix => self.in_a_shell(),
            Platform::Windows => self.in_powershell(),
        };
        let call = |((french, english), command)| FirstCall { french, english, command };
        WHAT.into_iter().zip(commands).map(call).collect()
    }

    fn in_a_shell(&self) -> [String; 3] {
        let Self { certs, data, api_port: port, .. } = self;
        let base = format!("https://localhost:{port}/fhir");
        let curl = |card: &str| {
            format!("curl -sS --cacert {certs}/ca.pem --cert {certs}/{card}.pem --key {certs}/{card}.key")
        };
        let json = "-H 'Content-Type: application/fhir+json'";
        [
            format!("{} '{base}/Patient?identifier={INS}'", curl("cps-medecin")),
            format!("{} {json} --data-binary @{data}/examples/alimentation.json {base}", curl("cps-medecin")),
            format!(
                "{b} -o /dev/null {json} --data-binary @{data}/examples/autorisation.json {base}/Consent && \\\n\
                 {b} \"$({b} '{base}/DocumentReference?patient.identifier={INS}&status=current' \\\n\
                 \x20 | grep -o '{base}/Binary/[^\"]*' | head -n 1)\"",
                b = curl("cps-medecin-b")
            ),
        ]
    }

    /// Windows' curl takes PKCS#12, and would ask for revocation lists on the web.
    fn in_powershell(&self) -> [String; 3] {
        let Self { certs, data, api_port: port, .. } = self;
        let base = format!("https://localhost:{port}/fhir");
        let curl = |card: &str| {
            format!(
                "curl.exe -sS --ssl-no-revoke --cacert {certs}/ca.pem --cert-type P12 --cert \"{certs}/{card}.p12:habilis\""
            )
        };
        let json = "-H \"Content-Type: application/fhir+json\"";
        [
            format!("{} \"{base}/Patient?identifier={INS}\"", curl("cps-medecin")),
            format!(
                "{} {json} --data-binary \"@{data}/examples/alimentation.json\" {base}",
                curl("cps-medecin")
            ),
            format!(
                "{b} {json} --data-binary \"@{data}/examples/autorisation.json\" {base}/Consent\n\
                 $found = {b} \"{base}/DocumentReference?patient.identifier={INS}&status=current\" | ConvertFrom-Json\n\
                 {b} $found.entry[0].resource.content[0].attachment.url",
                b = curl("cps-medecin-b")
            ),
        ]
    }

    pub fn text(&self, listening: &Listening) -> String {
        let mut text = format!(
            "\nHabilis sandbox\n  API     https://localhost:{}/fhir   (mutual TLS, cards in {})\n  \
             PSC     {}   (stand-in)\n  portal  http://{}\n",
            listening.api.port(),
            self.certs,
            self.provider,
            listening.portal
        );
        let there = Self { api_port: listening.api.port(), ..self.clone() };
        for (number, call) in there.calls(Platform::Unix).into_iter().enumerate() {
            text.push_str(&format!("\n{}. {}\n\n{}\n", number + 1, call.french, call.command));
        }
        text
    }
}
