//! The rows of homologation, and the calls by which each is seen to be played (`cases.tsv`).

use std::sync::LazyLock;

use anyhow::{Context, Result, bail, ensure};

/// One row.
#[derive(Clone, Debug)]
pub struct Case {
    /// `3.1-005`, `TNR-01#1`.
    pub code: String,
    /// `TD3.1a`.
    pub transaction: String,
    /// Who plays it, by which card or token.
    pub actor: String,
    /// `normal`, `bris_de_glace`, `centre_15`, secret connection.
    pub mode: String,
    /// How the patient's record has to be.
    pub patient: String,
    /// What has to be there before.
    pub given: String,
    /// What the client does.
    pub when: String,
    /// What the client is answered.
    pub then: String,
    /// What the server must see to.
    pub checks: String,
    /// The calls, in order; or why nobody can judge it here.
    pub steps: Result<Vec<Step>, String>,
}

/// One call of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `feed`, `find` … ([`super::call::Call`]); any of these.
    pub kinds: Vec<String>,
    /// What the client must send.
    pub sent: Vec<Test>,
    /// What the server must answer.
    pub answered: Vec<Test>,
}

/// What a call must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// Name of the attribute.
    pub name: String,
    /// How it is compared.
    pub with: With,
}

/// How an attribute is compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum With {
    /// One of these.
    OneOf(Vec<String>),
    /// Not this.
    Not(String),
    /// A number, this or more.
    AtLeast(u64),
    /// A text with this in it.
    Holding(String),
}

impl std::fmt::Display for Test {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.with {
            With::OneOf(values) => write!(formatter, "{} = {}", self.name, values.join(" or ")),
            With::Not(value) => write!(formatter, "no {} = {value}", self.name),
            With::Holding(text) => write!(formatter, "{} with « {text} »", self.name),
            With::AtLeast(least) => write!(formatter, "{} of {least} or more", self.name),
        }
    }
}

impl Test {
    fn read(text: &str) -> Result<Self> {
        let several = |values: &str| values.split('|').map(str::to_owned).collect();
        let (name, with) = if let Some((name, least)) = text.split_once(">=") {
            (name, With::AtLeast(least.parse().with_context(|| text.to_owned())?))
        } else if let Some((name, part)) = text.split_once("~=") {
            (name, With::Holding(part.to_owned()))
        } else {
            let (name, values) = text.split_once('=').with_context(|| format!("« {text} » says nothing"))?;
            match name.strip_prefix('!') {
                Some(name) => (name, With::Not(values.to_owned())),
                None => (name, With::OneOf(several(values))),
            }
        };
        ensure!(super::call::ATTRIBUTES.contains(&name), "« {name} » is no attribute of a call");
        Ok(Self { name: name.to_owned(), with })
    }
}

impl Step {
    fn read(text: &str) -> Result<Self> {
        let (sent, answered) = text.split_once(" : ").with_context(|| format!("« {text} » has no answer"))?;
        let mut words = sent.split_whitespace();
        let kinds: Vec<String> =
            words.next().context("a step without a call")?.split('|').map(str::to_owned).collect();
        for kind in &kinds {
            ensure!(super::call::KINDS.contains(&kind.as_str()), "« {kind} » is no kind of call");
        }
        Ok(Self {
            kinds,
            sent: words.map(Test::read).collect::<Result<_>>()?,
            answered: answered.split_whitespace().map(Test::read).collect::<Result<_>>()?,
        })
    }
}

/// Reads the table.
fn read(table: &str) -> Result<Vec<Case>> {
    let lines = table.lines().filter(|line| !line.starts_with('#')).skip(1);
    lines
        .map(|line| {
            let columns: Vec<&str> = line.split('\t').collect();
            let [code, transaction, actor, mode, patient, given, when, then, checks, steps] = columns[..]
            else {
                bail!("« {line} » has no ten columns");
            };
            let steps = match steps.strip_prefix("- ") {
                Some(why) => Err(why.to_owned()),
                None => Ok(steps
                    .split(" ; ")
                    .map(Step::read)
                    .collect::<Result<_>>()
                    .with_context(|| code.to_owned())?),
            };
            let [code, transaction, actor, mode, patient, given, when, then, checks] =
                [code, transaction, actor, mode, patient, given, when, then, checks].map(str::to_owned);
            Ok(Case { code, transaction, actor, mode, patient, given, when, then, checks, steps })
        })
        .collect()
}

/// All rows, in the order of the table.
#[expect(clippy::expect_used, reason = "invariant: a unit test reads the same table")]
pub fn all() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> =
        LazyLock::new(|| read(include_str!("cases.tsv")).expect("the table of cases is well-formed"));
    &CASES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_read_whole() {
        let cases = read(include_str!("cases.tsv")).unwrap();
        assert_eq!(cases.len(), 104);
        let mut codes: Vec<&str> = cases.iter().map(|case| case.code.as_str()).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), 104, "each code once");
        let unjudged: Vec<&str> =
            cases.iter().filter(|case| case.steps.is_err()).map(|case| case.code.as_str()).collect();
        assert_eq!(unjudged, ["0.1-160", "0.1-190", "1.3a-200", "3.1-145", "3.1-810", "3.2-510"]);
    }

    #[test]
    fn steps_that_cannot_be_meant_are_refused() {
        let step = Step::read("find|feed patient=ouvert !type=x : status=200|201 total>=2").unwrap();
        assert_eq!(step.kinds, ["find", "feed"]);
        assert_eq!(step.sent[1].with, With::Not("x".into()));
        assert_eq!(step.answered[1].with, With::AtLeast(2));
        for faulty in ["find", "walk : status=200", "find colour=red : status=200", "find x : status=200"] {
            assert!(Step::read(faulty).is_err(), "{faulty}");
        }
    }
}
