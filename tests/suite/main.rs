//! The suite: observable behaviour over the real listener, on both engines. One binary, because each further one would
//! link SQLite, aws-lc and OpenSSL again.

mod support;

mod audit;
mod by_clock;
mod canary;
mod certificates;
mod commands;
mod config;
mod faulty;
mod feed;
mod fhir_documents;
mod folders;
mod generate;
mod hidden;
mod history;
mod homologation;
mod kill;
mod lists;
mod meanwhile;
mod media;
mod mtls;
mod new_enemy;
mod notices;
mod ocsp;
mod openapi;
mod pace;
mod portal;
mod refresh;
mod refusals;
mod retention;
mod retrieve;
mod rights;
mod same_answers;
mod search;
mod sessions;
mod shared_data;
mod store;
mod structure;
mod submission_sets;
mod subscriptions;
mod traces;
mod value_sets;
mod walkthrough;
mod worlds;
mod xml;
