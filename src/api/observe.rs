//! Looks on at a call for the sandbox's homologation kit. Where there is none, as on every server of real records, nothing is looked at.

use std::sync::{Arc, Mutex};

use actix_web::HttpMessage as _;
use actix_web::body::{BoxBody, MessageBody as _};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap};
use actix_web::web;
use bytes::BytesMut;
use futures_util::TryStreamExt as _;

use super::peer::Peer;
use super::{Api, gate, hostile};
use crate::homologation::kit::Kit;
use crate::homologation::seen::{MOST, Seen, kept};

/// The header by which a client says which row it plays.
const CASE: &str = "x-habilis-case";

/// A call that is looked at.
pub(super) struct Watch {
    kit: Arc<dyn Kit>,
    seen: Seen,
    media: String,
    /// Of a run: the others' bodies are not looked at.
    body: Option<Arc<Mutex<BytesMut>>>,
}

impl Watch {
    /// Begins before the request's body is read: what is read of it passes by here.
    pub fn begin(request: &mut ServiceRequest) -> Option<Self> {
        let api = request.app_data::<web::Data<Api>>()?;
        let certificate = &request.conn_data::<Peer>()?.label;
        let kit = Arc::clone(api.kit.as_ref()?);
        let whole = kit.watches(certificate);
        let seen = Seen {
            at: api.services.environment.now().as_microsecond(),
            method: request.method().to_string(),
            path: request.path().to_owned(),
            query: request.query_string().to_owned(),
            certificate: certificate.clone(),
            playing: text_of(request.headers(), CASE).filter(|codes| codes.len() <= 200),
            ..Seen::default()
        };
        let (media, most) = (request.content_type().to_owned(), api.limits.body);
        if !whole {
            return Some(Self { kit, seen, media, body: None });
        }
        let body = Arc::new(Mutex::new(BytesMut::new()));
        let passing = Arc::clone(&body);
        let read = request.take_payload().inspect_ok(move |piece| {
            if let Ok(mut body) = passing.lock()
                && body.len() + piece.len() <= most
            {
                body.extend_from_slice(piece);
            }
        });
        request.set_payload(Payload::Stream { payload: Box::pin(read) });
        Some(Self { kit, seen, media, body: Some(body) })
    }

    /// Ends with the answer, which goes out as it is.
    pub fn end(mut self, response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
        self.seen.status = response.status().as_u16();
        self.seen.made_up = response.response().extensions().get::<hostile::Instead>().is_some();
        let headers = response.headers();
        self.seen.request_id = text_of(headers, gate::REQUEST_ID.as_str()).unwrap_or_default();
        self.seen.media = text_of(headers, header::CONTENT_TYPE.as_str()).unwrap_or_default();
        let Some(body) = self.body.take() else {
            self.kit.note(&self.seen, false);
            return response;
        };
        if let Ok(body) = body.lock() {
            self.seen.sent = kept(&body, &self.media);
        }
        response.map_body(move |_, body| match body.try_into_bytes() {
            Ok(bytes) => {
                if bytes.len() <= MOST {
                    self.seen.answer = kept(&bytes, &self.seen.media);
                }
                self.kit.note(&self.seen, true);
                BoxBody::new(bytes)
            }
            Err(body) => {
                self.kit.note(&self.seen, true);
                body
            }
        })
    }
}

fn text_of(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}
