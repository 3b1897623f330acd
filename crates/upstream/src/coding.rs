//! Decodes compressed bodies of answers, so that they can be searched for the texts of a login
//! page.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT_ENCODING, CONTENT_ENCODING},
};

/// Maximum number of bytes of an answer that are read to recognize a login page. After decoding, at
/// most the same number of bytes is searched.
pub(crate) const MAX_READ_BYTES: usize = 64 * 1_024;

/// Content coding of an answer (RFC 9110, section 8.4.1) that this client can decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Identity,
    Gzip,
}

impl Coding {
    /// Returns the content coding of an answer, or `None` if this client cannot decode it.
    pub(crate) fn of(fields: &HeaderMap) -> Option<Self> {
        let mut values = fields.get_all(CONTENT_ENCODING).iter();
        let Some(value) = values.next() else {
            return Some(Self::Identity);
        };
        if values.next().is_some() {
            return None;
        }
        match value
            .as_bytes()
            .trim_ascii()
            .to_ascii_lowercase()
            .as_slice()
        {
            b"" | b"identity" => Some(Self::Identity),
            b"gzip" | b"x-gzip" => Some(Self::Gzip),
            _ => None,
        }
    }

    /// Decodes the first bytes of a body. Returns at most [`MAX_READ_BYTES`] bytes. If the input is
    /// incomplete or malformed, returns the bytes that precede the fault.
    pub(crate) fn decode(self, mut received: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Identity => {
                received.truncate(MAX_READ_BYTES);
                received
            }
            Self::Gzip => {
                let mut text = Vec::new();
                let decoder = MultiGzDecoder::new(received.as_slice());
                // Only the start of the body was received. The decoder reports an error at the end
                // of the input, and this error is ignored.
                let _ = decoder.take(MAX_READ_BYTES as u64).read_to_end(&mut text);
                text
            }
        }
    }
}

/// Returns the `Accept-Encoding` for the site. The result contains the codings that the client
/// accepts and this crate can decode. If there are none, the result is `identity`.
pub(crate) fn narrowed(client: &HeaderMap) -> HeaderValue {
    let values = client.get_all(ACCEPT_ENCODING).iter();
    let values = values.filter_map(|value| value.to_str().ok());
    let accepted: Vec<_> = values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|element| {
            let (coding, weight) = element.split_once(';').unwrap_or((element, ""));
            let is = |name| coding.trim().eq_ignore_ascii_case(name);
            // `identity;q=0` is dropped. With it, a site that does not support gzip would refuse
            // the request.
            let is_refused = weight.trim().replace(' ', "").trim_end_matches(['0', '.']) == "q=";
            is("gzip") || is("x-gzip") || (is("identity") && !is_refused)
        })
        .collect();
    HeaderValue::try_from(accepted.join(", "))
        .ok()
        .filter(|value| !value.is_empty())
        .unwrap_or_else(|| HeaderValue::from_static("identity"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};
    use rstest::rstest;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[rstest]
    #[case::absent(&[], Some(Coding::Identity))]
    #[case::identity(&["identity"], Some(Coding::Identity))]
    #[case::gzip(&[" GZIP "], Some(Coding::Gzip))]
    #[case::old_name(&["x-gzip"], Some(Coding::Gzip))]
    #[case::other(&["br"], None)]
    #[case::twice(&["gzip, gzip"], None)]
    #[case::two_fields(&["gzip", "gzip"], None)]
    fn only_identity_and_gzip_codings_are_decoded(
        #[case] values: &[&'static str],
        #[case] expected: Option<Coding>,
    ) {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(CONTENT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(Coding::of(&fields), expected);
    }

    #[rstest]
    #[case::browser(&["gzip, deflate, br, zstd"], "gzip")]
    #[case::weights(&["br;q=1.0, gzip;q=0.8, *;q=0.1"], "gzip;q=0.8")]
    #[case::refused(&["gzip;q=0, identity"], "gzip;q=0, identity")]
    #[case::two_fields(&["br", "X-GZIP"], "X-GZIP")]
    #[case::identity_refused(&["br, identity;q=0"], "identity")]
    #[case::only_gzip(&["gzip, identity; q=0.000"], "gzip")]
    #[case::identity_disliked(&["gzip, identity;q=0.01"], "gzip, identity;q=0.01")]
    #[case::others_only(&["br"], "identity")]
    #[case::any(&["*"], "identity")]
    #[case::empty(&[""], "identity")]
    #[case::absent(&[], "identity")]
    fn accept_encoding_is_narrowed_to_the_codings_that_can_be_decoded(
        #[case] values: &[&'static str],
        #[case] expected: &str,
    ) {
        let mut fields = HeaderMap::new();
        for value in values {
            fields.append(ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        assert_eq!(narrowed(&fields), expected);
    }

    #[test]
    fn start_of_a_compressed_body_is_decoded() {
        let text: Vec<u8> = (0..40_000_u32).flat_map(u32::to_be_bytes).collect();
        let compressed = gzip(&text);
        let decoded = Coding::Gzip.decode(compressed[..compressed.len() / 4].to_vec());
        assert!(decoded.len() > 1_000);
        assert!(text.starts_with(&decoded));
    }

    #[test]
    fn concatenated_gzip_members_are_decoded() {
        let body = [gzip(b"Please "), gzip(b"log in")].concat();
        assert_eq!(Coding::Gzip.decode(body), b"Please log in");
    }

    #[test]
    fn decompression_bomb_is_decoded_to_at_most_64_kib() {
        let bomb = gzip(&vec![b'a'; 50_000_000]);
        assert!(bomb.len() < MAX_READ_BYTES);
        let decoded = Coding::Gzip.decode(bomb);
        assert_eq!(decoded.len(), MAX_READ_BYTES);
        assert!(decoded.capacity() <= 2 * MAX_READ_BYTES);
    }

    #[rstest]
    #[case::no_gzip(b"<html>".to_vec())]
    #[case::only_a_head(vec![0x1f, 0x8b, 8, 8])]
    #[case::empty(Vec::new())]
    fn malformed_gzip_body_is_decoded_to_no_bytes(#[case] body: Vec<u8>) {
        assert_eq!(Coding::Gzip.decode(body), b"");
    }

    #[test]
    fn body_bytes_after_64_kib_are_not_decoded() {
        let text = Coding::Identity.decode(vec![b'a'; 100_000]);
        assert_eq!(text.len(), MAX_READ_BYTES);
    }
}
