//! Serialization of containers and events, in the shape of the program's output. `docs/json.md` is the reference.

use std::borrow::Cow;
use std::time::SystemTime;

use jiff::Timestamp;
use serde::de::{Deserialize, Deserializer, Error};
use serde::ser::{Serialize, Serializer};

use super::container_id::ContainerId;
use super::labels::Labels;
use super::network::{Port, Protocol};

mod container;
mod event;

/// A time as RFC 3339 text in UTC, with as many decimals of a second as it has. A time out of range becomes
/// the nearest in range.
struct Time(SystemTime);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let nearest = if self.0 < SystemTime::UNIX_EPOCH { Timestamp::MIN } else { Timestamp::MAX };
        serializer.collect_str(&Timestamp::try_from(self.0).unwrap_or(nearest))
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        let time = text.parse::<Timestamp>().and_then(SystemTime::try_from);
        time.map(Self).map_err(|error| D::Error::custom(format_args!("no RFC 3339 time, '{text}': {error}")))
    }
}

impl Serialize for ContainerId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

impl<'de> Deserialize<'de> for ContainerId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let labels = std::collections::BTreeMap::<String, String>::deserialize(deserializer)?;
        Ok(Self::from_iter(labels))
    }
}

/// A port's fields.
#[derive(serde::Serialize, serde::Deserialize)]
struct PortFields {
    private: u16,
    protocol: Protocol,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    public: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    address: Option<std::net::IpAddr>,
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (private, protocol) = (self.private(), self.protocol());
        PortFields { private, protocol, public: self.public(), address: self.address() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = PortFields::deserialize(deserializer)?;
        let port = Self::new(fields.private, fields.protocol);
        Ok(match (fields.address, fields.public) {
            (Some(address), Some(public)) => port.published_at(address, public),
            _ => port,
        })
    }
}
