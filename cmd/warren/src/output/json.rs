//! The canonical JSON of the API's messages, with the field names of the schema.

use std::sync::OnceLock;

use anyhow::{Context, Result};
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, SerializeOptions};
use serde::{Serialize, Serializer};

/// For people: a field a line.
pub fn pretty<M: Message>(name: &str, message: &M) -> Result<String> {
    Ok(serde_json::to_string_pretty(&Shown::new(name, message)?)?)
}

/// For streams: a message a line.
pub fn line<M: Message>(name: &str, message: &M) -> Result<String> {
    Ok(serde_json::to_string(&Shown::new(name, message)?)?)
}

/// The same value as YAML.
pub fn yaml<M: Message>(name: &str, message: &M) -> Result<String> {
    Ok(serde_saphyr::to_string(&Shown::new(name, message)?)?)
}

/// A message with its description.
struct Shown(DynamicMessage);

impl Shown {
    fn new<M: Message>(name: &str, message: &M) -> Result<Self> {
        let descriptor = pool()?
            .get_message_by_name(&format!("warren.v1.{name}"))
            .with_context(|| format!("the schema has no message {name}"))?;
        let dynamic = DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice())
            .with_context(|| format!("the schema's {name} is another one"))?;
        Ok(Self(dynamic))
    }
}

impl Serialize for Shown {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let options = SerializeOptions::new()
            .use_proto_field_name(true)
            .skip_default_fields(false)
            .stringify_64_bit_integers(false);
        self.0.serialize_with_options(serializer, &options)
    }
}

fn pool() -> Result<&'static DescriptorPool> {
    static POOL: OnceLock<DescriptorPool> = OnceLock::new();
    if let Some(pool) = POOL.get() {
        return Ok(pool);
    }
    let pool =
        DescriptorPool::decode(warren_proto::DESCRIPTORS).context("cannot read the schema")?;
    Ok(POOL.get_or_init(|| pool))
}

#[cfg(test)]
mod tests {
    use warren_proto::v1 as pb;

    use super::*;

    fn image() -> pb::Image {
        pb::Image {
            name: "docker.io/library/nginx:latest".to_owned(),
            digest: "sha256:00".to_owned(),
            size_bytes: 9_007_199_254_740_993,
            updated_at: Some(prost_types::Timestamp { seconds: 1, nanos: 500_000_000 }),
            node_id: String::new(),
        }
    }

    #[test]
    fn json_has_the_schemas_names_every_field_and_plain_numbers() {
        assert_eq!(
            line("Image", &image()).unwrap(),
            concat!(
                r#"{"name":"docker.io/library/nginx:latest","digest":"sha256:00","#,
                r#""size_bytes":9007199254740993,"updated_at":"1970-01-01T00:00:01.500Z","#,
                r#""node_id":""}"#
            )
        );
    }

    #[test]
    fn enums_are_names_and_durations_are_seconds() {
        let timing = pb::Timing {
            period: Some(prost_types::Duration { seconds: 1, nanos: 500_000_000 }),
            failures: Some(3),
            ..Default::default()
        };
        assert_eq!(line("Timing", &timing).unwrap(), r#"{"period":"1.500s","failures":3}"#);
        let mount = pb::Mount { kind: pb::MountKind::Tmpfs.into(), ..Default::default() };
        assert_eq!(
            line("Mount", &mount).unwrap(),
            r#"{"source":"","target":"","read_only":false,"kind":"MOUNT_KIND_TMPFS"}"#
        );
    }

    #[test]
    fn yaml_is_the_same_value() {
        assert_eq!(
            yaml("Image", &image()).unwrap(),
            "name: docker.io/library/nginx:latest\ndigest: sha256:00\n\
             size_bytes: 9007199254740993\nupdated_at: \"1970-01-01T00:00:01.500Z\"\n\
             node_id: \"\"\n"
        );
    }

    #[test]
    fn a_name_that_the_schema_has_not_is_a_fault() {
        assert!(line("Nothing", &image()).is_err());
    }
}
