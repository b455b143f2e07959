//! In which form a client wants its answer: `_format`, or else `Accept` (FHIR R4, 3.1.0.1.11).

use actix_web::http::header;
use actix_web::{HttpMessage, HttpRequest};

use crate::error::{Reason, Refusal};

/// A form of FHIR.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `application/fhir+json`.
    #[default]
    Json,
    /// `application/fhir+xml`.
    Xml,
}

impl Format {
    /// The form of a body, by its media type without parameters.
    pub fn of_body(media_type: &str) -> Option<Self> {
        match media_type {
            "application/fhir+json" | "application/json" => Some(Format::Json),
            "application/fhir+xml" | "application/xml" | "text/xml" => Some(Format::Xml),
            _ => None,
        }
    }

    /// The form in which a request is answered, a refusal included: as its handler found, or as its header says.
    pub fn of_answer(request: &HttpRequest) -> Self {
        if let Some(format) = request.extensions().get::<Format>() {
            return *format;
        }
        let parameters = super::request::query(request).unwrap_or_default();
        Accepted::of(request, &parameters).best().unwrap_or_default()
    }
}

/// How the bytes of a document are given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As they are.
    Native,
    /// In a Binary.
    Resource(Format),
}

/// What a client accepts, the best first.
#[derive(Clone, Debug)]
pub struct Accepted(Vec<String>);

impl Accepted {
    /// Reads it from `_format`, or else from `Accept`.
    pub fn of(request: &HttpRequest, parameters: &[(String, String)]) -> Self {
        let format = parameters.iter().find(|(name, _)| name == "_format");
        let list = match format {
            Some((_, value)) if value == "json" => "application/fhir+json".to_owned(),
            Some((_, value)) if value == "xml" => "application/fhir+xml".to_owned(),
            // A plus sign in a query is a space.
            Some((_, value)) => value.replace(' ', "+"),
            None => {
                let values = request.headers().get_all(header::ACCEPT);
                values.filter_map(|value| value.to_str().ok()).collect::<Vec<_>>().join(",")
            }
        };
        Self::read(&list)
    }

    fn read(list: &str) -> Self {
        /// Media ranges that are looked at: nobody names more.
        const MOST_RANGES: usize = 100;
        let mut ranges: Vec<(u16, String)> = list
            .split(',')
            .filter(|range| !range.trim().is_empty())
            .take(MOST_RANGES)
            .map(|range| {
                let mut parts = range.split(';').map(|part| part.trim().to_ascii_lowercase());
                let media_type = parts.next().unwrap_or_default();
                let weight = parts.find_map(|part| part.strip_prefix("q=").and_then(|q| q.parse::<f32>().ok()));
                // Thousandths, as RFC 9110 has at most; what is no weight is 1.
                let weight = weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0);
                let thousandths = (weight * 1000.0).round();
                let thousandths = (0..=1000).find(|step| f32::from(*step) >= thousandths).unwrap_or(1000);
                (thousandths, media_type)
            })
            .filter(|(weight, media_type)| *weight > 0 && !media_type.is_empty())
            .collect();
        ranges.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
        Self(ranges.into_iter().map(|(_, media_type)| media_type).collect())
    }

    /// The form of FHIR that will do best. JSON where anything will.
    pub fn best(&self) -> Option<Format> {
        if self.0.is_empty() {
            return Some(Format::Json);
        }
        self.0.iter().find_map(|range| match range.as_str() {
            "*/*" | "application/*" => Some(Format::Json),
            "text/*" => Some(Format::Xml),
            named => Format::of_body(named),
        })
    }

    /// Chooses the form of the answer, and notes it with the request: who makes the answer HTTP writes it so.
    ///
    /// # Errors
    /// [`Reason::NotAcceptable`].
    pub fn choose(&self, request: &HttpRequest) -> Result<Format, Refusal> {
        let format = self.best().ok_or_else(|| {
            let why = "this server answers application/fhir+json and application/fhir+xml";
            Refusal::new(Reason::NotAcceptable, why)
        })?;
        request.extensions_mut().insert(format);
        Ok(format)
    }

    /// Whether a document in XML will do, asked for by name.
    pub fn takes_xml(&self) -> bool {
        self.0.iter().any(|range| matches!(range.as_str(), "text/xml" | "application/xml"))
    }

    /// How a document of this media type is given, if at all: its own bytes, or a Binary where FHIR is asked for by name.
    pub fn form_of(&self, media_type: &str) -> Option<Form> {
        let media_type = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let family = media_type.split('/').next().unwrap_or_default();
        if self.0.is_empty() {
            return Some(Form::Native);
        }
        self.0.iter().find_map(|range| match range.as_str() {
            "application/fhir+json" => Some(Form::Resource(Format::Json)),
            "application/fhir+xml" => Some(Form::Resource(Format::Xml)),
            named if named == "*/*" || named == media_type => Some(Form::Native),
            // Two names of one thing (RFC 7303).
            "text/xml" | "application/xml" if matches!(&*media_type, "text/xml" | "application/xml") => {
                Some(Form::Native)
            }
            "application/json" => Some(Form::Resource(Format::Json)),
            named => (named.strip_suffix("/*") == Some(family)).then_some(Form::Native),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_form() {
        for (accept, expected) in [
            ("", Some(Format::Json)),
            ("*/*", Some(Format::Json)),
            ("application/*", Some(Format::Json)),
            ("application/fhir+xml", Some(Format::Xml)),
            ("Application/FHIR+XML; charset=utf-8", Some(Format::Xml)),
            ("application/xml", Some(Format::Xml)),
            ("text/xml", Some(Format::Xml)),
            ("application/json", Some(Format::Json)),
            ("application/fhir+json, application/fhir+xml", Some(Format::Json)),
            ("application/fhir+json;q=0.5, application/fhir+xml;q=0.9", Some(Format::Xml)),
            ("application/fhir+json;q=0, application/fhir+xml;q=0.001", Some(Format::Xml)),
            ("application/fhir+xml;q=0.000, */*", Some(Format::Json)),
            ("application/fhir+xml;q=x", Some(Format::Xml)),
            ("text/html, image/png", None),
            ("text/html;q=1, */*;q=0.1", Some(Format::Json)),
        ] {
            assert_eq!(Accepted::read(accept).best(), expected, "{accept}");
        }
    }

    #[test]
    fn how_a_document_is_given() {
        let pdf = "application/pdf";
        let (json, xml) = (Form::Resource(Format::Json), Form::Resource(Format::Xml));
        for (accept, media_type, expected) in [
            ("", pdf, Some(Form::Native)),
            ("*/*", pdf, Some(Form::Native)),
            ("application/*", pdf, Some(Form::Native)),
            ("text/*", pdf, None),
            (pdf, "Application/PDF; x=y", Some(Form::Native)),
            ("application/fhir+json", pdf, Some(json)),
            ("application/json", pdf, Some(json)),
            ("application/fhir+xml", pdf, Some(xml)),
            ("application/xml", pdf, None),
            ("application/xml", "application/xml", Some(Form::Native)),
            ("application/pdf, application/fhir+json", pdf, Some(Form::Native)),
            ("application/fhir+json, application/pdf", pdf, Some(json)),
            ("application/pdf;q=0.1, application/fhir+xml", pdf, Some(xml)),
            ("image/png", pdf, None),
        ] {
            assert_eq!(Accepted::read(accept).form_of(media_type), expected, "{accept}, {media_type}");
        }
    }
}
