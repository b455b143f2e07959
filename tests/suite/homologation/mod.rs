//! The homologation scenarios, through the real listener and on both engines. Codes are those of the CNDA's test book; the
//! words are ours.

mod sessions;
