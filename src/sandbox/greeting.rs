//! What a sandbox says when it is ready: the first calls to try, to be pasted as they are.

use super::SandboxOptions;
use crate::api::portal::escaped;
use crate::server::Listening;

pub(super) struct Greeting {
    certs: String,
    data: String,
    api_port: u16,
    provider: String,
}

impl Greeting {
    pub fn new(options: &SandboxOptions, provider: &str) -> Self {
        Self {
            certs: options.certs.display().to_string(),
            data: options.data.display().to_string(),
            api_port: options.api.port(),
            provider: provider.to_owned(),
        }
    }

    /// Three calls: does the record exist, feed, authorise and find and read.
    fn calls(&self, port: u16) -> [(String, String); 3] {
        let Self { certs, data, .. } = self;
        let base = format!("https://localhost:{port}/fhir");
        let curl = |card: &str| {
            format!("curl -sS --cacert {certs}/ca.pem --cert {certs}/{card}.pem --key {certs}/{card}.key")
        };
        let json = "-H 'Content-Type: application/fhir+json'";
        let ins = "urn:oid:1.2.250.1.213.1.4.10%7C279035121518989";
        [
            (
                "Le patient a-t-il un DMP ? (TD0.2)".into(),
                format!("{} '{base}/Patient?identifier={ins}'", curl("cps-medecin")),
            ),
            (
                "Alimenter le DMP d'un document CDA (TD2.1, ITI-65)".into(),
                format!(
                    "{} {json} --data-binary @{data}/examples/alimentation.json {base}",
                    curl("cps-medecin")
                ),
            ),
            (
                "Un autre médecin : autorisation (TD0.3), recherche (TD3.1, ITI-67), lecture (TD3.2, ITI-68)"
                    .into(),
                format!(
                    "{b} -o /dev/null {json} --data-binary @{data}/examples/autorisation.json {base}/Consent && \\\n\
                     {b} \"$({b} '{base}/DocumentReference?patient.identifier={ins}&status=current' \\\n\
                     \x20 | grep -o '{base}/Binary/[^\"]*' | head -n 1)\"",
                    b = curl("cps-medecin-b")
                ),
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
        for (number, (what, call)) in self.calls(listening.api.port()).into_iter().enumerate() {
            text.push_str(&format!("\n{}. {what}\n\n{call}\n", number + 1));
        }
        text
    }

    pub fn html(&self) -> String {
        let mut html = String::from(
            "<h1>Habilis, bac à sable</h1><p>Volet professionnel du DMP en FHIR. Données de démonstration : \
             la matrice d'habilitation est en partie inventée et ne fait pas foi.</p><h2>Premiers appels</h2>",
        );
        for (what, call) in self.calls(self.api_port) {
            html.push_str(&format!("<h3>{}</h3><pre>{}</pre>", escaped(&what), escaped(&call)));
        }
        html.push_str("<h2>Patients de démonstration</h2><table><tbody>");
        for (ins, family, given, birth_date) in super::records() {
            html.push_str(&format!(
                "<tr><td><code>{ins}</code></td><td>{family} {given}</td><td>{birth_date}</td></tr>"
            ));
        }
        html.push_str(
            "</tbody></table><p><a href=\"/homologation\">Homologation</a> · <a href=\"/docs\">Opérations</a> · <a href=\"/openapi.json\">OpenAPI</a> · \
             <a href=\"/health/ready\">état</a></p>",
        );
        html
    }
}
