//! The tables, as diesel sees them on both engines. `migrations/` is what makes them; a test compares the two engines.

diesel::table! {
    record (id) {
        id -> Text,
        ins_system -> Text,
        ins_value -> Text,
        family_name -> Text,
        given_name -> Text,
        birth_date -> Text,
        open -> Bool,
        closed_at -> Nullable<BigInt>,
        closing_reason -> Nullable<Text>,
        mon_espace_sante -> Bool,
        opposed_to_feeding -> Bool,
        opposed_to_bris_de_glace -> Bool,
        opposed_to_centre_15 -> Bool,
        masked_open_in_emergencies -> Bool,
        created_at -> BigInt,
        gender -> Text,
        family_key -> Text,
        administrative -> Text,
        all_masked -> Bool,
        notifications -> Text,
        version -> BigInt,
        erased_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    authorisation (record_id, holder) {
        record_id -> Text,
        holder -> Text,
        blocked -> Bool,
        since -> BigInt,
        until -> BigInt,
        consent_id -> Text,
        consent -> Text,
        basis -> Text,
        name -> Nullable<Text>,
        profession -> Nullable<Text>,
        declared_by -> Text,
        secret -> Bool,
        ended_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    medecin_traitant (record_id, professional_id) {
        record_id -> Text,
        professional_id -> Text,
        since -> BigInt,
        kind -> Text,
        consent_id -> Text,
        name -> Nullable<Text>,
    }
}

diesel::table! {
    submission_set (id) {
        id -> Text,
        record_id -> Text,
        author_id -> Text,
        created_at -> BigInt,
        resource -> Text,
        date -> BigInt,
        kind -> Text,
    }
}

diesel::table! {
    folder_entry (folder_id, document_id) {
        folder_id -> Text,
        document_id -> Text,
        position -> Integer,
    }
}

diesel::table! {
    document (record_id, date, id) {
        record_id -> Text,
        date -> BigInt,
        id -> Text,
        unique_id -> Text,
        binary_id -> Text,
        submission_set_id -> Text,
        position -> Integer,
        version -> BigInt,
        status -> Text,
        type_code -> Text,
        class_code -> Text,
        format_code -> Text,
        facility_code -> Text,
        setting_code -> Text,
        creation -> BigInt,
        masked -> Bool,
        invisible_to_patient -> Bool,
        invisible_to_representatives -> Bool,
        archived -> Bool,
        author_id -> Text,
        author_structure -> Nullable<Text>,
        created_at -> BigInt,
        sha256 -> Text,
        size -> BigInt,
        content_type -> Text,
        body_key -> Text,
        fed_as -> Text,
        link -> Integer,
        resource -> Text,
        replaces_id -> Nullable<Text>,
        visible_from -> Nullable<BigInt>,
        updated_at -> BigInt,
        creation_end -> BigInt,
        period_start -> Nullable<BigInt>,
        period_end -> Nullable<BigInt>,
    }
}

diesel::table! {
    document_version (document_id, version) {
        document_id -> Text,
        version -> BigInt,
        status -> Text,
        masked -> Bool,
        invisible_to_patient -> Bool,
        invisible_to_representatives -> Bool,
        archived -> Bool,
        link -> Integer,
        resource -> Text,
    }
}

diesel::table! {
    search_term (owner_id, kind, token) {
        owner_id -> Text,
        kind -> Text,
        token -> Text,
        value -> Text,
    }
}

diesel::table! {
    vaccination (document_id) {
        document_id -> Text,
        record_id -> Text,
        vaccine -> Text,
        day -> Text,
        facts -> Text,
    }
}

diesel::table! {
    made_body (binary_id) {
        binary_id -> Text,
        record_id -> Text,
        bytes -> Binary,
    }
}

diesel::table! {
    record_key (record_id) {
        record_id -> Text,
        operator_key -> Text,
        wrapped -> Binary,
    }
}

diesel::table! {
    operator_key (name) {
        name -> Text,
    }
}

diesel::table! {
    retired_key (name) {
        name -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    erasure (record_id) {
        record_id -> Text,
        at -> BigInt,
        basis -> Text,
        request_id -> Text,
        documents -> BigInt,
        bytes -> BigInt,
        key_destroyed -> Bool,
        unsealed -> BigInt,
        traces_at -> Nullable<BigInt>,
        traces_request_id -> Nullable<Text>,
    }
}

diesel::table! {
    notice (id) {
        id -> Text,
        record_id -> Text,
        kind -> Text,
        channel -> Text,
        told -> Text,
        at -> BigInt,
        actor -> Text,
        actor_kind -> Text,
        structure -> Nullable<Text>,
        mode -> Text,
        state -> Text,
        due -> BigInt,
        attempts -> BigInt,
        leased_until -> BigInt,
        fault -> Nullable<Text>,
        objects -> Text,
    }
}

diesel::table! {
    log_cursor (reader, node) {
        reader -> Text,
        node -> Text,
        leaf -> BigInt,
    }
}

diesel::table! {
    subscription (id) {
        id -> Text,
        record_id -> Text,
        caller_id -> Text,
        caller -> Text,
        certificate -> Text,
        topic -> Text,
        filter -> Text,
        endpoint -> Text,
        resource -> Binary,
        status -> Text,
        fault -> Nullable<Text>,
        version -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        since -> BigInt,
        looked_at -> BigInt,
        until -> BigInt,
        heartbeat -> Nullable<BigInt>,
        heartbeat_at -> Nullable<BigInt>,
        events -> BigInt,
        changed -> Bool,
        attempts -> BigInt,
        due -> BigInt,
        leased_until -> BigInt,
    }
}

diesel::table! {
    subscription_document (subscription_id, document_id) {
        subscription_id -> Text,
        document_id -> Text,
        version -> BigInt,
        told -> Bool,
    }
}

diesel::table! {
    subscription_event (subscription_id, place) {
        subscription_id -> Text,
        place -> BigInt,
        kind -> Text,
        document_id -> Text,
        version -> BigInt,
        at -> BigInt,
        number -> Nullable<BigInt>,
    }
}

diesel::table! {
    readable_type (set_id, type_code) {
        set_id -> Text,
        type_code -> Text,
    }
}

diesel::table! {
    trace (sequence) {
        sequence -> BigInt,
        at -> BigInt,
        request_id -> Text,
        operation -> Text,
        caller_kind -> Text,
        caller_id -> Text,
        caller_structure -> Nullable<Text>,
        certificate -> Text,
        mode -> Text,
        record_id -> Nullable<Text>,
        objects -> Text,
        status -> Integer,
        outcome -> Text,
        rule -> Text,
        authentication -> Text,
        role -> Nullable<Text>,
        sector -> Nullable<Text>,
        software -> Nullable<Text>,
        motif -> Nullable<Text>,
        session_id -> Nullable<Text>,
        secret -> Bool,
        node -> Nullable<Text>,
        leaf -> Nullable<BigInt>,
        leaf_hash -> Nullable<Binary>,
        erased_by -> Nullable<Text>,
    }
}

diesel::table! {
    trace_log (node) {
        node -> Text,
        size -> BigInt,
        frontier -> Binary,
        checkpoint -> Binary,
    }
}

diesel::table! {
    spent (token) {
        token -> Text,
        until -> BigInt,
    }
}

diesel::table! {
    budget (key, since) {
        key -> Text,
        since -> BigInt,
        spent -> BigInt,
    }
}

diesel::joinable!(authorisation -> record (record_id));
diesel::joinable!(record_key -> record (record_id));
diesel::allow_tables_to_appear_in_same_query!(
    record_key,
    subscription,
    subscription_document,
    subscription_event
);
diesel::joinable!(erasure -> record (record_id));
diesel::joinable!(medecin_traitant -> record (record_id));
diesel::allow_tables_to_appear_in_same_query!(
    document,
    document_version,
    folder_entry,
    readable_type,
    search_term,
    submission_set,
    subscription_document,
    vaccination
);
diesel::allow_tables_to_appear_in_same_query!(
    record,
    authorisation,
    medecin_traitant,
    document,
    record_key,
    erasure
);
