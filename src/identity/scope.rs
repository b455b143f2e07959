//! Scopes of a token: one for each transaction, under the names of IHE (IUA 3.65.5 ff.) or of the DMP.

use std::fmt;

/// A transaction that a token may be for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transaction {
    /// TD0.2: does a record exist.
    TestExistence,
    /// TD0.3: declare an authorisation.
    Declare,
    /// ITI-65: feed by transaction.
    ProvideBundle,
    /// ITI-105: feed one document.
    Publish,
    /// ITI-67: find and read DocumentReferences.
    Find,
    /// ITI-68: retrieve documents.
    Retrieve,
    /// TD0.4: the records that one may read.
    ListRecords,
    /// TD0.5: find a patient without INS.
    FindPatient,
    /// TD1.3a: who the patient is.
    ReadPatient,
    /// TD1.4: close a record.
    Close,
    /// TD1.6: who is authorised and who is blocked.
    ListProfessionals,
    /// TD3.1b: the reference of one's own document.
    LookUp,
    /// TD3.3a to d: labels, archive, deletion.
    Update,
    /// ITI-66: find and read submission sets.
    FindLists,
    /// ITI-81: read traces.
    ReadTraces,
    /// ITI-110: subscribe to what becomes of a record.
    Subscribe,
}

impl Transaction {
    /// Every transaction.
    pub const ALL: [Transaction; 16] = [
        Transaction::TestExistence,
        Transaction::Declare,
        Transaction::ProvideBundle,
        Transaction::Publish,
        Transaction::Find,
        Transaction::Retrieve,
        Transaction::ListRecords,
        Transaction::FindPatient,
        Transaction::ReadPatient,
        Transaction::Close,
        Transaction::ListProfessionals,
        Transaction::LookUp,
        Transaction::Update,
        Transaction::FindLists,
        Transaction::ReadTraces,
        Transaction::Subscribe,
    ];

    /// Its name as a scope.
    pub const fn name(self) -> &'static str {
        match self {
            Transaction::TestExistence => "TD0.2",
            Transaction::Declare => "TD0.3",
            Transaction::ProvideBundle => "ITI-65",
            Transaction::Publish => "ITI-105",
            Transaction::Find => "ITI-67",
            Transaction::Retrieve => "ITI-68",
            Transaction::ListRecords => "TD0.4",
            Transaction::FindPatient => "TD0.5",
            Transaction::ReadPatient => "TD1.3a",
            Transaction::Close => "TD1.4",
            Transaction::ListProfessionals => "TD1.6",
            Transaction::LookUp => "TD3.1b",
            Transaction::Update => "TD3.3",
            Transaction::FindLists => "ITI-66",
            Transaction::ReadTraces => "ITI-81",
            Transaction::Subscribe => "ITI-110",
        }
    }

    const fn bit(self) -> u16 {
        1 << self as u16
    }
}

/// A set of scopes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u16);

impl Scopes {
    /// All of them.
    pub fn all() -> Self {
        Transaction::ALL.into_iter().collect()
    }

    /// Those of a `scope` parameter that this server knows; others are left aside, as RFC 6749 (3.3) allows: the answer
    /// tells what was granted.
    pub fn known_of(text: &str) -> Self {
        text.split(' ')
            .filter_map(|name| Transaction::ALL.into_iter().find(|transaction| transaction.name() == name))
            .collect()
    }

    /// Whether a transaction is among them.
    pub fn hold(self, transaction: Transaction) -> bool {
        self.0 & transaction.bit() != 0
    }

    /// Those in both.
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Those in either.
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These, less those.
    pub fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// None.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

impl FromIterator<Transaction> for Scopes {
    fn from_iter<T: IntoIterator<Item = Transaction>>(transactions: T) -> Self {
        Self(transactions.into_iter().fold(0, |set, transaction| set | transaction.bit()))
    }
}

impl fmt::Display for Scopes {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = Transaction::ALL.into_iter().filter(|one| self.hold(*one)).map(Transaction::name);
        formatter.write_str(&names.collect::<Vec<_>>().join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_unknown_ones_are_left_aside() {
        let scopes = Scopes::known_of("openid ITI-67 ITI-68 iti-65");
        assert_eq!(scopes.to_string(), "ITI-67 ITI-68");
        assert!(scopes.hold(Transaction::Find) && !scopes.hold(Transaction::ProvideBundle));
        assert_eq!(Scopes::known_of(&Scopes::all().to_string()), Scopes::all());
        assert!(Scopes::known_of("").is_empty() && Scopes::known_of("openid").is_empty());
    }

    #[test]
    fn sets() {
        let some = Scopes::known_of("ITI-67 ITI-68");
        let others = Scopes::known_of("ITI-68 TD0.2 ITI-68");
        assert_eq!(others.to_string(), "TD0.2 ITI-68", "named twice, there once");
        assert_eq!(some.and(others).to_string(), "ITI-68");
        assert_eq!(some.or(others).to_string(), "TD0.2 ITI-67 ITI-68");
        assert_eq!(some.without(others).to_string(), "ITI-67");
        assert!(!some.is_empty() && some.without(some).is_empty());
    }
}
