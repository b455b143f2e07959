//! Writes what the fuzzers begin with: certificates and lists of a test PKI, and claims of each kind.
//!
//!   seeds FOLDER

use std::path::Path;

use habilis::environment::Environment;
// The coverage callbacks of what is compiled for fuzzing.
use libfuzzer_sys as _;

fn main() {
    let folder = std::env::args().nth(1).expect("a folder");
    let folder = Path::new(&folder);
    let pki = folder.join("pki");
    habilis::sandbox::make_pki(&pki, &Environment::system()).unwrap();
    let keep = |target: &str, name: &str, bytes: &[u8]| {
        let to = folder.join(target);
        std::fs::create_dir_all(&to).unwrap();
        std::fs::write(to.join(name), bytes).unwrap();
    };
    for entry in std::fs::read_dir(&pki).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "pem") {
            let pem = std::fs::read(&path).unwrap();
            let der = openssl::x509::X509::from_pem(&pem).unwrap().to_der().unwrap();
            keep("certificate_facts", path.file_stem().unwrap().to_str().unwrap(), &der);
        }
    }
    for entry in std::fs::read_dir(pki.join("trust/crl")).unwrap() {
        let path = entry.unwrap().path();
        let der = openssl::x509::X509Crl::from_pem(&std::fs::read(&path).unwrap()).unwrap().to_der().unwrap();
        keep("revocation_list", path.file_stem().unwrap().to_str().unwrap(), &der);
    }
    let extensions = r#"{"ihe_iua":{"subject_name":"A B","subject_organization_id":"1750000010","subject_role":[{"system":"urn:oid:1.2.250.1.71.1.2.7","code":"10"},{"system":"urn:oid:1.2.250.1.71.4.2.5","code":"SM26"}],"purpose_of_use":[{"system":"urn:oid:1.2.250.1.213.1.1.4.248","code":"bris_de_glace"}],"person_id":"urn:oid:1.2.250.1.213.1.4.10|279035121518989"},"dmp":{"authentification_mode":"INDIRECTE_RENFORCEE","acteur":"professionnel","secteur_activite":"SA01","ressource_urn":"urn:dmp","motif":"x","lps_nom":"L","lps_version":"1","lps_id_homologation":"D","authentification_primaire":{"method":"m","at":1794999999}}}"#;
    let assertion = format!(
        r#"{{"iss":"1750000010","sub":"810100000016","aud":"https://localhost:8443","iat":1795000000,"exp":1795000030,"jti":"12345678","extensions":{extensions}}}"#
    );
    let token = format!(
        r#"{{"iss":"i","aud":["i"],"sub":"810100000016","client_id":"c","iat":1,"exp":2,"jti":"j","scope":"ITI-67","cnf":{{"x5t#S256":"x"}},"extensions":{extensions}}}"#
    );
    let user = r#"{"sub":"f:a:b","SubjectNameID":"810100000016","Acces_Regulation_Medicale":"VRAI","SubjectRefPro":{"exercices":[{"codeProfession":"10","codeCategorieProfessionnelle":"C","codeSavoirFaire":"SM26","activities":[{"codeSecteurDactivite":"SA07","ancienIdentifiantDeLaStructure":"1750000036"}]}]}}"#;
    let form = "grant_type=client_credentials&scope=ITI-67&purpose_of_use=bris_de_glace&motif=x&patient=urn:oid:1.2.250.1.213.1.4.10|279035121518989";
    for (name, text) in [("assertion", assertion.as_str()), ("token", &token), ("user", user), ("form", form)] {
        keep("token_claims", name, text.as_bytes());
    }
    let example = habilis::sandbox::example::Example::new(
        "urn:oid:1.2.250.1.213.1.4.10",
        "279035121518989",
        "X",
        "2.25.1",
    );
    let patient = r#"{"resourceType":"Patient","text":{"status":"empty","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\">x</div>"},"extension":[{"url":"u","valueDecimal":1.10}],"name":[{"id":"n","given":["a",null],"_given":[null,{"id":"g"}]}],"active":true}"#;
    for (name, json) in
        [("transaction", example.transaction().as_str()), ("single", &example.single()), ("patient", patient)]
    {
        keep("fhir_forms", &format!("{name}.json"), json.as_bytes());
        keep("fhir_forms", &format!("{name}.xml"), habilis::fhir::xml::to_xml(json).unwrap().as_bytes());
    }
}
