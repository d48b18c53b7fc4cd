//! Values that inspections and lists of both APIs contain alike.

use std::time::SystemTime;

use jiff::Timestamp;
use serde_json::value::RawValue;
use whalewatcher_core::Image;

use crate::decode::json;
use crate::decode::labels::Text;

/// Returns the image of this name and ID. podman's own API omits the algorithm of the ID.
pub(super) fn image_of(name: Option<&RawValue>, id: Option<&RawValue>) -> Option<Image> {
    let text = |raw| json::lenient::<Text<'_>>(raw).filter(|text| !text.is_empty());
    let id = id.and_then(text).map(|id| {
        let is_bare = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_bare { format!("sha256:{}", &*id) } else { id.to_string() }
    });
    let name = name.and_then(text);
    let image = Image::new(name.as_deref().or(id.as_deref())?);
    Some(match id {
        Some(id) => image.with_id(id),
        None => image,
    })
}

/// Parses a time; `None` for the year 1, which Docker writes for what never happened.
pub(super) fn moment(text: &str) -> Option<SystemTime> {
    let timestamp: Timestamp = text.parse().ok()?;
    (timestamp > Timestamp::UNIX_EPOCH).then(|| SystemTime::try_from(timestamp).ok())?
}
