//! Which notices a trace gives, and what their holder wants.

use serde_json::Value;
use uuid::Uuid;

use crate::store::{NewNotice, NoticesOf, Told, TraceRow};

/// The patient, as he who is told.
pub const PATIENT: &str = "patient";
/// By e-mail.
pub const MAIL: &str = "courriel";
/// By the webhook of the SI Mon espace santé.
pub const WEBHOOK: &str = "webhook";

/// The name of a kind of notice among the preferences (`notifications`, the patient's side), if it may be refused. Nobody is kept from learning of an
/// emergency (L1111-17).
fn preference(kind: &str) -> Option<&'static str> {
    match kind {
        "premier_acces" => Some("premierAcces"),
        "consultation" => Some("consultation"),
        "alimentation" => Some("alimentation"),
        _ => None,
    }
}

/// Whether the holder wants to be told so, by this channel: unless he said no.
pub fn wanted(kind: &str, channel: &str, told: &Told) -> bool {
    let preferences: Value = serde_json::from_str(&told.preferences).unwrap_or_default();
    let refused = |name: &str| preferences.get(name) == Some(&Value::Bool(false));
    let by_mail = channel == MAIL && refused("courriel");
    !by_mail && !preference(kind).is_some_and(refused)
}

/// The address at which the holder reads e-mail: the first that his record has.
pub fn address(told: &Told) -> Option<String> {
    let administrative: Value = serde_json::from_str(&told.administrative).ok()?;
    let telecom = administrative.get("telecom")?.as_array()?;
    let mail = telecom.iter().find(|one| one["system"] == "email")?;
    mail["value"].as_str().map(str::to_owned)
}

/// What a trace gives. One consultation of a professional a day, however many documents he opened: a notice that comes fifty times is read by
/// nobody.
pub fn of_trace(row: &TraceRow, about: &NoticesOf) -> Vec<NewNotice> {
    // A secret connection is hidden from representatives (R1111-50), and whose mail it is, is not known.
    let Some(record_id) = row.record_id.as_deref().filter(|_| !row.secret) else { return Vec::new() };
    let emergency = row.mode != "normal" && !row.mode.is_empty();
    let reads = row.operation.starts_with("TD3.1") || row.operation.starts_with("TD3.2");
    let feeds = row.operation.starts_with("TD2");
    let kind = match (reads, feeds) {
        (true, _) if emergency => "urgence",
        (true, _) if !about.read_before => "premier_acces",
        (true, _) => "consultation",
        (_, true) => "alimentation",
        _ => return Vec::new(),
    };
    let due = match about.announced_until {
        // What he may not know yet he is not told: after the announcement (R1111-53) he is, and of what stays hidden never.
        Some(i64::MAX) => return Vec::new(),
        Some(until) if feeds => until.max(row.at),
        _ => row.at,
    };
    const DAY: i64 = 86_400_000_000;
    let day = row.at.div_euclid(DAY);
    let once = match kind {
        // Fed again, byte for byte, it is the same feed.
        "alimentation" => {
            let mut objects: Vec<&str> = row.objects.split(' ').collect();
            objects.sort_unstable();
            objects.join(" ")
        }
        "urgence" => format!("{day} {} {}", row.caller_id, row.session_id.as_deref().unwrap_or_default()),
        _ => format!("{day} {}", row.caller_id),
    };
    let notice = |told: &str, channel: &'static str| {
        // On the day of the first access nothing more is told of what he read.
        let family = if kind == "premier_acces" { "consultation" } else { kind };
        let name = format!("{record_id} {family} {once} {told} {channel}");
        NewNotice {
            id: Uuid::new_v5(&Uuid::NAMESPACE_URL, name.as_bytes()).hyphenated().to_string(),
            record_id: record_id.to_owned(),
            kind,
            channel,
            told: told.to_owned(),
            at: row.at,
            actor: row.caller_id.clone(),
            actor_kind: row.caller_kind.clone(),
            structure: row.caller_structure.clone(),
            mode: row.mode.clone(),
            due,
            objects: if kind == "alimentation" { row.objects.clone() } else { String::new() },
        }
    };
    let mut notices = vec![notice(PATIENT, MAIL), notice(PATIENT, WEBHOOK)];
    if kind == "urgence" {
        let others = about.treating.iter().filter(|professional| **professional != row.caller_id);
        notices.extend(others.map(|professional| notice(professional, MAIL)));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trace(operation: &str, mode: &str) -> TraceRow {
        TraceRow {
            operation: operation.into(),
            mode: mode.into(),
            record_id: Some("r".into()),
            caller_id: "8101".into(),
            at: 1_000_000_000_000_000,
            node: Some("1".into()),
            leaf: Some(7),
            ..TraceRow::default()
        }
    }

    fn kinds(row: &TraceRow, about: &NoticesOf) -> Vec<(&'static str, String, &'static str)> {
        of_trace(row, about).into_iter().map(|new| (new.kind, new.told, new.channel)).collect()
    }

    #[test]
    fn what_is_told_of_what() {
        let first = NoticesOf::default();
        let again = NoticesOf {
            read_before: true,
            treating: vec!["8102".into(), "8101".into()],
            ..NoticesOf::default()
        };
        let patient = |kind| vec![(kind, PATIENT.to_owned(), MAIL), (kind, PATIENT.to_owned(), WEBHOOK)];
        assert_eq!(kinds(&trace("TD3.2 retrieve", "normal"), &first), patient("premier_acces"));
        assert_eq!(kinds(&trace("TD3.1 find documents", "normal"), &again), patient("consultation"));
        assert_eq!(kinds(&trace("TD2 simplified publish", "normal"), &again), patient("alimentation"));
        // The médecin traitant too of an emergency, unless it is his own.
        let mut emergency = patient("urgence");
        emergency.push(("urgence", "8102".to_owned(), MAIL));
        assert_eq!(kinds(&trace("TD3.2 retrieve", "bris_de_glace"), &again), emergency);
        for operation in ["TD0.2 test existence", "TD3.3 update document", "read traces", "MES change record"] {
            assert_eq!(kinds(&trace(operation, "normal"), &first), []);
        }
        assert_eq!(kinds(&TraceRow { secret: true, ..trace("TD3.2 retrieve", "normal") }, &first), []);
        assert_eq!(kinds(&TraceRow { record_id: None, ..trace("TD3.2 retrieve", "normal") }, &first), []);
    }

    #[test]
    fn an_announcement_is_waited_for() {
        let feed = trace("TD2 simplified publish", "normal");
        let until = |announced_until| NoticesOf { announced_until, ..NoticesOf::default() };
        let due = |about: &NoticesOf| of_trace(&feed, about).first().map(|new| new.due);
        assert_eq!(due(&until(None)), Some(feed.at));
        assert_eq!(due(&until(Some(feed.at + 5))), Some(feed.at + 5));
        assert_eq!(due(&until(Some(i64::MAX))), None);
    }

    #[test]
    fn once_a_day_and_once_a_feed() {
        let ids = |row: &TraceRow| -> Vec<String> {
            let about = NoticesOf { read_before: true, ..NoticesOf::default() };
            of_trace(row, &about).into_iter().map(|new| new.id).collect()
        };
        let read = trace("TD3.2 retrieve", "normal");
        let later = TraceRow { leaf: Some(8), at: read.at + 1, ..read.clone() };
        let tomorrow = TraceRow { at: read.at + 86_400_000_000, ..read.clone() };
        assert_eq!(ids(&read), ids(&later));
        assert_ne!(ids(&read), ids(&tomorrow));
        let feed = TraceRow { objects: "a b".into(), ..trace("TD2 simplified publish", "normal") };
        assert_eq!(ids(&feed), ids(&TraceRow { leaf: Some(8), objects: "b a".into(), ..feed.clone() }));
        assert_ne!(ids(&feed), ids(&TraceRow { objects: "c".into(), ..feed.clone() }));
    }

    #[test]
    fn what_the_holder_said_no_to() {
        let told = |preferences: &str| Told {
            open: true,
            preferences: preferences.into(),
            administrative:
                r#"{"telecom":[{"system":"phone","value":"1"},{"system":"email","value":"a@b.fr"}]}"#.into(),
            treating: Vec::new(),
        };
        assert!(wanted("consultation", MAIL, &told("{}")));
        assert!(!wanted("consultation", MAIL, &told(r#"{"consultation":false}"#)));
        assert!(wanted("alimentation", MAIL, &told(r#"{"consultation":false}"#)));
        assert!(wanted("urgence", WEBHOOK, &told(r#"{"urgence":false}"#)));
        assert!(!wanted("urgence", MAIL, &told(r#"{"courriel":false}"#)));
        assert!(wanted("urgence", WEBHOOK, &told(r#"{"courriel":false}"#)));
        assert_eq!(address(&told("{}")).as_deref(), Some("a@b.fr"));
    }
}
