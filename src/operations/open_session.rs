//! `POST /oauth2/token`: a connected certificate, and what comes with it, become a session of somebody who acts.
//!
//! Three grants lead to one [`Caller`]: a card's own holder (`client_credentials`), a professional through Pro Santé
//! Connect (`token-exchange`), a person whom an establishment names (`jwt-bearer`). The rights layer then says whether
//! the mode is open to that caller, and the token is bound to the certificate of the connection. Whether the patient has
//! a record, or has said no to this, is not looked at: a token request tells nothing about it.

use std::sync::Arc;

use super::session_request::{Context, Grant, TokenRequest};
use super::{Budget, Operation, Services, Traced};
use crate::audit::TraceContext;
use crate::certificate::{CertificateFacts, CertificateKind};
use crate::error::{Failure, Reason, Refusal};
use crate::identity::assertion::{self, Assertion};
use crate::identity::scope::{Scopes, Transaction};
use crate::identity::software::Admitted;
use crate::identity::{AccessMode, Actor, Authentication, Caller, Profession, Session, role_detail};
use crate::rights::SessionGrant;

/// The operation's name in traces.
pub const OPERATION: Operation = Operation::without_scope("TD0.1 open session", Budget::Token);

/// A connection on which a token is asked for.
#[derive(Clone, Debug)]
pub struct Connection {
    /// What its certificate says.
    pub certificate: CertificateFacts,
    /// SHA-256 of the certificate.
    pub fingerprint: [u8; 32],
    /// The beginning of the trace.
    pub trace: TraceContext,
    /// What every operation works with.
    pub services: Arc<Services>,
}

/// A token that was made.
#[derive(Debug)]
pub struct Issued {
    /// The token.
    pub access_token: String,
    /// Seconds.
    pub expires_in: i64,
    /// What was granted.
    pub scopes: Scopes,
}

/// Opens a session.
///
/// # Errors
/// Those of the grant, of the mode, of the software; the store's; the provider's.
pub async fn run(connection: &Connection, request: &TokenRequest) -> Result<Traced<Issued>, Failure> {
    let sessions = &connection.services.sessions;
    let now = connection.services.environment.now();
    let (caller, once) = match &request.grant {
        Grant::ClientCredentials => (by_card(connection, &request.context)?, None),
        Grant::TokenExchange { subject_token } => {
            (by_pro_sante_connect(connection, &request.context, subject_token).await?, None)
        }
        Grant::JwtBearer { assertion } => {
            let assertion = read_assertion(connection, &request.context, assertion)?;
            let once = (assertion.once.clone(), assertion.expires_at);
            (by_assertion(assertion), Some(once))
        }
    };
    let context = &request.context;
    // An assertion says these itself; what stands beside it agrees.
    let asked = caller.session.clone().unwrap_or_else(|| context.session());
    let caller = Caller {
        software: caller.software.clone().or_else(|| context.software()),
        session: Some(asked.clone()),
        ..caller
    };
    // Who acts is known from here on: what is refused now stands in the trace under that name.
    let known = |refusal: Refusal| Failure::Refused(Box::new(refusal.of_caller(&caller)));
    let admitted = sessions.software.load().admit(caller.software.as_ref()).map_err(known)?;
    let scopes = scopes(request, &caller, &admitted).map_err(known)?;
    let grant = connection.services.tables.decide_opening(&caller).granted().map_err(known)?;

    let longest = now.as_second() + sessions.tokens.lifetime(&caller).as_secs().cast_signed();
    let reinforced = caller.authentication == Authentication::IndirectReinforced;
    let expires_at = match &once {
        // The token of an AIR assertion lives no longer than the assertion itself.
        Some((_, expires_at)) if reinforced => longest.min(*expires_at),
        _ => longest,
    };
    let session = Session {
        id: connection.services.environment.next_id(),
        scopes,
        single_use: reinforced,
        expires_at,
        ..asked
    };
    let caller = Caller { software: admitted.software, session: Some(session.clone()), ..caller };
    if let Some((once, expires_at)) = once
        && !connection.services.store.spend(format!("assertion/{once}"), expires_at).await?
    {
        let spent = Refusal::new(Reason::TokenSpent, "an assertion with this jti was used already");
        return Err(Failure::Refused(Box::new(spent.of_caller(&caller))));
    }
    let (record, rule) = record(connection, grant, &session).await?;
    let client = client_name(&connection.certificate);
    let access_token = sessions
        .tokens
        .issue(&caller, client, &connection.fingerprint, now)
        .map_err(|error| Failure::internal(format_args!("{error:#}")))?;
    let trace = connection.trace.now_known(&caller).granted(
        200,
        &rule,
        record.as_deref(),
        std::slice::from_ref(&session.id),
    );
    let issued = Issued { access_token, expires_in: expires_at - now.as_second(), scopes };
    connection.services.store.writer().record(trace, issued).await
}

/// The record that the session opens, for its trace.
async fn record(
    connection: &Connection,
    grant: SessionGrant,
    session: &Session,
) -> Result<(Option<String>, String), Failure> {
    let rule = grant.rule().to_owned();
    let Some(ins) = session.record.clone() else { return Ok((None, rule)) };
    let read = move |reader: &mut crate::store::Reader<'_>| reader.record_of_session(&grant, &ins);
    Ok((connection.services.store.read(read).await?, rule))
}

/// Who asked, as the token names its client: Struct_IdNat of an organisation, PS_IdNat of a card.
fn client_name(facts: &CertificateFacts) -> &str {
    match facts.kind {
        CertificateKind::Card(_) => &facts.subject.common_name,
        _ => facts.subject.structure.as_deref().unwrap_or_default(),
    }
}

fn wrong_certificate(why: &'static str) -> Refusal {
    Refusal::new(Reason::UnknownClient, why).by("contract: who calls")
}

/// Struct_IdNat of an organisation's certificate, whose structure this is.
fn organisation(connection: &Connection) -> Result<&str, Refusal> {
    match (connection.certificate.kind, connection.certificate.subject.structure.as_deref()) {
        (CertificateKind::OrganisationClient, Some(structure)) => Ok(structure),
        _ => Err(wrong_certificate(
            "this grant is for organisation certificates: a card opens client_credentials",
        )),
    }
}

/// `client_credentials`: the holder of the card.
fn by_card(connection: &Connection, context: &Context) -> Result<Caller, Refusal> {
    let sessions = &connection.services.sessions;
    if connection.certificate.kind == CertificateKind::OrganisationClient {
        return Err(wrong_certificate(
            "an organisation names who acts: token-exchange (Pro Santé Connect) or jwt-bearer (assertion)",
        ));
    }
    let mut caller = Caller::of_certificate(&connection.certificate, sessions.checks)?;
    caller.mode = context.mode;
    caller.sector = context.sector()?;
    let id = caller.id().to_owned();
    let directory = sessions.directory.load();
    let mut regulates = false;
    if let Actor::Professional { profession, specialities, in_training, .. } = &mut caller.actor {
        let key = context.situation_exercice.as_deref();
        if key.is_some_and(|key| !situation_is(key, profession, *in_training)) {
            return Err(Refusal::new(Reason::StructureNotLinked, "situation_exercice is not that of the card")
                .by("PS et structure non liés"));
        }
        let mut known = std::mem::take(specialities);
        if known.is_empty() {
            known = directory.role_detail(&id, profession.code(), context.structure.as_deref());
        }
        let detail = role_detail(profession, *in_training, known, context.specialite.as_deref())?;
        *specialities = detail.proven;
        caller.declared_role = detail.declared;
        regulates = profession.code() == Profession::DOCTOR;
    }
    match (&caller.actor, &context.structure) {
        (Actor::Professional { profession, .. }, Some(structure)) => {
            if !directory.exercises(&id, profession.code(), structure) {
                let refusal = Refusal::new(
                    Reason::StructureNotLinked,
                    "the directory knows no activity of the professional in this structure",
                );
                return Err(refusal.by("PS et structure non liés").of_caller(&caller));
            }
            caller.structure_name = directory.structure(structure).map(|structure| structure.name.clone());
            caller.structure = Some(structure.clone());
        }
        (Actor::Staff { structure: own, .. }, Some(named)) if own != named => {
            let refusal = Refusal::new(Reason::StructureNotLinked, "the structure is that of the card (OU)");
            return Err(refusal.of_caller(&caller));
        }
        _ => {}
    }
    if caller.mode == AccessMode::Centre15 {
        let centre = match &context.structure {
            Some(structure) => {
                Some(structure.as_str()).filter(|structure| directory.is_regulation_centre(structure))
            }
            None => directory.regulation_centre_of(&id, Profession::DOCTOR),
        };
        let Some(centre) = centre.filter(|_| regulates) else {
            return Err(no_regulation().of_caller(&caller));
        };
        caller.structure_name = directory.structure(centre).map(|structure| structure.name.clone());
        caller.structure = Some(centre.to_owned());
    }
    emergency(&caller, context).map_err(|refusal| refusal.of_caller(&caller))?;
    Ok(caller)
}

/// `token-exchange`: the professional behind an access token of Pro Santé Connect.
async fn by_pro_sante_connect(
    connection: &Connection,
    context: &Context,
    subject_token: &str,
) -> Result<Caller, Failure> {
    let sessions = &connection.services.sessions;
    let structure = organisation(connection)?;
    let provider = sessions.pro_sante_connect.as_ref().ok_or_else(|| {
        Refusal::new(
            Reason::UnsupportedGrant,
            "this server is not a client of Pro Santé Connect (configuration)",
        )
    })?;
    let now = connection.services.environment.now();
    let common_name = &connection.certificate.subject.common_name;
    let client = (structure, common_name.as_str());
    let user = provider.professional(subject_token, client, &connection.fingerprint, now).await?;
    let situation = user.situation(
        context.situation_exercice.as_deref(),
        context.structure.as_deref(),
        context.specialite.as_deref(),
        sessions.checks,
    )?;
    let caller = Caller {
        authentication: Authentication::ProSanteConnect,
        mode: context.mode,
        structure: situation.structure,
        structure_name: situation.structure_name,
        name: Some(situation.name),
        // The provider knows better.
        sector: situation.sector.or(context.sector()?),
        declared_role: situation.declared_role,
        ..Caller::by_card(situation.actor)
    };
    if caller.mode == AccessMode::Centre15 {
        let doctor = matches!(&caller.actor, Actor::Professional { profession, .. } if profession.code() == Profession::DOCTOR);
        let directory = sessions.directory.load();
        let centre =
            caller.structure.as_ref().is_some_and(|structure| directory.is_regulation_centre(structure));
        if !(doctor && situation.regulates && centre) {
            return Err(no_regulation().of_caller(&caller).into());
        }
    }
    emergency(&caller, context).map_err(|refusal| refusal.of_caller(&caller))?;
    Ok(caller)
}

/// `jwt-bearer`: whom the establishment names.
fn read_assertion(connection: &Connection, context: &Context, text: &str) -> Result<Assertion, Refusal> {
    let sessions = &connection.services.sessions;
    let client = organisation(connection)?;
    let reader = assertion::Reader {
        revocation: &sessions.revocation,
        directory: &sessions.directory.load(),
        checks: sessions.checks,
        client,
        issuer: sessions.tokens.issuer(),
        now: connection.services.environment.now(),
    };
    let assertion = reader.read(text)?;
    context.agrees_with(&assertion)?;
    Ok(assertion)
}

fn by_assertion(assertion: Assertion) -> Caller {
    Caller {
        actor: assertion.actor,
        authentication: assertion.authentication,
        mode: assertion.mode,
        structure: Some(assertion.structure),
        might_act_for: Vec::new(),
        structure_name: None,
        name: Some(assertion.name),
        sector: Some(assertion.sector),
        declared_role: assertion.declared_role,
        proof: assertion.proof,
        software: Some(crate::identity::software::Software {
            name: assertion.software.name,
            version: assertion.software.version,
            homologation_id: Some(assertion.software.homologation_id),
            registered: false,
        }),
        session: Some(Session {
            id: String::new(),
            scopes: Scopes::default(),
            record: assertion.record,
            motif: assertion.motif,
            secret: assertion.secret,
            single_use: false,
            expires_at: 0,
        }),
    }
}

/// `10C`: profession and category (C civil, M military, E student).
fn situation_is(key: &str, profession: &Profession, in_training: bool) -> bool {
    key.strip_prefix(profession.code()).is_some_and(|category| match category {
        "" => true,
        "E" => in_training,
        "C" | "M" => !in_training,
        _ => false,
    })
}

fn no_regulation() -> Refusal {
    Refusal::new(Reason::WrongMode, "centre_15 is open to regulating doctors of a regulation centre")
        .by("L1111-17 I: regulating doctor of the SAMU")
}

/// What an emergency wants, and who has none.
fn emergency(caller: &Caller, context: &Context) -> Result<(), Refusal> {
    let professional = matches!(caller.actor, Actor::Professional { .. });
    if caller.mode == AccessMode::BrisDeGlace {
        if !professional {
            return Err(Refusal::new(Reason::WrongMode, "bris_de_glace is open to professionals")
                .by("L1111-17 I: bris de glace"));
        }
        if context.motif.is_none() || context.patient.is_none() {
            return Err(Refusal::new(
                Reason::InvalidTokenRequest,
                "bris_de_glace wants motif, and patient: the token then opens that record alone",
            )
            .by("contract: common parameters"));
        }
    }
    if context.secret && !professional {
        return Err(Refusal::new(Reason::WrongMode, "a secret connection is open to professionals")
            .by("R1111-50: secret connection"));
    }
    Ok(())
}

/// What was asked for, as far as software and way of authentication allow.
fn scopes(request: &TokenRequest, caller: &Caller, admitted: &Admitted) -> Result<Scopes, Refusal> {
    let feeds: Scopes = [Transaction::ProvideBundle, Transaction::Publish].into_iter().collect();
    let mut allowed = admitted.scopes;
    if caller.authentication == Authentication::IndirectReinforced {
        if !admitted.consults {
            return Err(Refusal::new(
                Reason::SoftwareRefused,
                "INDIRECTE_RENFORCEE is for registered software of the profile Consultation",
            )
            .by("EX_AIR-010: profiles of consultation"));
        }
        allowed = allowed.without(feeds);
    }
    let asked = match &request.scope {
        Some(scope) => Scopes::known_of(scope),
        None if matches!(request.grant, Grant::TokenExchange { .. }) => {
            return Err(Refusal::new(Reason::InvalidTokenRequest, "token-exchange wants a scope")
                .by("API Pro Santé Connectée: scope"));
        }
        None => Scopes::all(),
    };
    let granted = asked.and(allowed);
    if granted.is_empty() {
        return Err(Refusal::new(Reason::InvalidScope, format!("scope is some of {allowed}")));
    }
    Ok(granted)
}
