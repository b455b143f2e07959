//! Notices by e-mail: that something happened, when, and where one reads more. Nothing of health, and nobody's name: a profession may tell a disease.

use anyhow::{Context, Result};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};

use super::MailSettings;
use super::rules::PATIENT;
use crate::store::NoticeRow;

/// Sends e-mails over one relay.
pub(super) struct Mailer {
    relay: AsyncSmtpTransport<Tokio1Executor>,
    from: Mailbox,
    more: String,
}

/// How long one e-mail may take, from the connection to the relay's last word.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);

/// Why an e-mail did not leave.
pub(super) enum MailFault {
    /// Nothing will change it: the address is none, the relay refuses it for good.
    Final(String),
    /// It may go better later.
    Passing(String),
}

impl Mailer {
    pub fn new(settings: &MailSettings) -> Result<Self> {
        let mut tls = TlsParameters::builder(settings.host.clone());
        if let Some(path) = &settings.authority {
            let pem = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            tls = tls.add_root_certificate(Certificate::from_pem(&pem).context("notices.mail.authority")?);
        }
        let tls = tls.build().context("notices.mail")?;
        let tls = if settings.implicit_tls { Tls::Wrapper(tls) } else { Tls::Required(tls) };
        let mut relay = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&settings.host)
            .port(settings.port)
            .tls(tls)
            .timeout(Some(std::time::Duration::from_secs(20)));
        if let Some((user, password)) = &settings.credentials {
            relay = relay.credentials(Credentials::new(user.clone(), password.clone()));
        }
        let from = settings.from.parse().context("notices.mail.from is no address")?;
        Ok(Self { relay: relay.build(), from, more: settings.more.clone() })
    }

    pub async fn send(&self, notice: &NoticeRow, address: &str) -> Result<(), MailFault> {
        let address: Mailbox =
            address.parse().map_err(|_| MailFault::Final("the address is none".to_owned()))?;
        let message =
            self.message(notice, address).map_err(|error| MailFault::Passing(format!("{error:#}")))?;
        // Its own timeout ends with the connection: a relay that falls silent later would hold up everything.
        let Ok(answer) = tokio::time::timeout(PATIENCE, self.relay.send(message)).await else {
            return Err(MailFault::Passing("the relay does not answer in time".to_owned()));
        };
        match answer {
            Ok(_) => Ok(()),
            Err(error) if refuses_the_address(&error) => Err(MailFault::Final(reason(&error))),
            Err(error) => Err(MailFault::Passing(reason(&error))),
        }
    }

    fn message(&self, notice: &NoticeRow, address: Mailbox) -> Result<Message> {
        let domain = self.from.email.domain();
        let (subject, text) = words(notice, &self.more);
        Message::builder()
            .from(self.from.clone())
            .to(address)
            .subject(subject)
            // The same each time it is sent: who gets it twice can tell.
            .message_id(Some(format!("<{}@{domain}>", notice.id)))
            .header(ContentType::TEXT_PLAIN)
            .body(text)
            .context("a message")
    }
}

/// Whether it is this address that the relay will never take. What it says of us (a password, a sender) is ours to mend: nothing is given up for it.
fn refuses_the_address(error: &lettre::transport::smtp::Error) -> bool {
    error.status().is_some_and(|code| ["550", "551", "553"].contains(&code.to_string().as_str()))
}

/// The relay's own words may repeat the address: the class of its answer is told.
fn reason(error: &lettre::transport::smtp::Error) -> String {
    match error.status() {
        Some(code) => format!("the relay answers {code}"),
        None if error.is_timeout() => "the relay does not answer in time".to_owned(),
        None if error.is_tls() => "TLS with the relay does not come about".to_owned(),
        None => "the relay is not reached".to_owned(),
    }
}

/// Subject and text, in French.
fn words(notice: &NoticeRow, more: &str) -> (&'static str, String) {
    let at = Timestamp::from_microsecond(notice.at).unwrap_or_default();
    let zone = TimeZone::get("Europe/Paris").unwrap_or(TimeZone::UTC);
    let at = at.to_zoned(zone).strftime("%d/%m/%Y à %H:%M");
    if notice.told != PATIENT {
        let text = format!(
            "Bonjour,\n\nUn accès en urgence a eu lieu le {at} au DMP de l'un de vos patients.\n\
             Le détail figure dans l'historique des accès de son DMP, avec votre logiciel.\n"
        );
        return ("Accès en urgence au DMP d'un de vos patients", text);
    }
    let (subject, what) = match notice.kind.as_str() {
        "premier_acces" => (
            "Premier accès à votre dossier médical",
            "Un professionnel de santé a accédé pour la première fois à",
        ),
        "alimentation" => ("Nouveau document dans votre dossier médical", "Un document a été ajouté à"),
        "urgence" => ("Accès en urgence à votre dossier médical", "Un accès en urgence a eu lieu à"),
        _ => ("Consultation de votre dossier médical", "Un professionnel de santé a consulté"),
    };
    let text = format!(
        "Bonjour,\n\n{what} votre dossier médical le {at}.\n\
         Pour savoir qui et pour bloquer un accès, connectez-vous à Mon espace santé :\n{more}\n\n\
         Vous pouvez y choisir les messages que vous souhaitez recevoir.\n"
    );
    (subject, text)
}
