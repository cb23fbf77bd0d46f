//! What is asked of each noun and its message.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fmt, fs,
    path::Path,
};

use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, MessageDescriptor, ReflectMessage, Value,
    prost::Message,
};
use warren_core::Invalid;

/// A value and the name of its frozen file.
pub type Fixture<D> = (&'static str, D);

pub fn reads_back<D, M>(value: &D)
where
    D: TryFrom<M, Error = Invalid> + PartialEq + fmt::Debug,
    M: Message + Default + for<'a> From<&'a D>,
{
    let bytes = M::from(value).encode_to_vec();
    let read = D::try_from(M::decode(bytes.as_slice()).unwrap());
    assert_eq!(read.as_ref(), Ok(value));
}

/// What the manager adds where it shows a message, and nobody stores.
const TOLD: [&str; 1] = ["warren.v1.Node.observer_score"];

/// No field of the message, nor of any message in it, is left at its default in all fixtures.
/// What is new in the schema fails here until its type and its fixture have it.
pub fn every_field_is_set<D, M>(message: &str, fixtures: &[Fixture<D>])
where
    M: Message + for<'a> From<&'a D>,
{
    let mut set = BTreeMap::new();
    for (_, value) in fixtures {
        let bytes = M::from(value).encode_to_vec();
        visit(&reflect(message, &bytes), &mut set);
    }
    for (full_name, (descriptor, fields)) in set {
        for field in descriptor.fields() {
            let is_set = |field: &FieldDescriptor| fields.contains(field.name());
            // The fixtures of an enclosing message need not have every kind of what it encloses.
            let another_kind = descriptor.name() != message
                && field.containing_oneof().is_some_and(|kind| kind.fields().any(|f| is_set(&f)));
            let is_told = TOLD.contains(&field.full_name());
            assert!(
                is_set(&field) || another_kind || is_told,
                "{full_name}.{} is never set",
                field.name()
            );
        }
    }
}

type SetFields = BTreeMap<String, (MessageDescriptor, BTreeSet<String>)>;

fn visit(message: &DynamicMessage, set: &mut SetFields) {
    let descriptor = message.descriptor();
    if descriptor.package_name() != "warren.v1" {
        return;
    }
    for (field, value) in message.fields() {
        let name = descriptor.full_name().to_owned();
        let (_, fields) = set.entry(name).or_insert((descriptor.clone(), BTreeSet::new()));
        if message.has_field(&field) {
            fields.insert(field.name().to_owned());
        }
        if let Value::Message(inner) = value {
            visit(inner, set);
        } else if let Value::List(items) = value {
            items.iter().filter_map(Value::as_message).for_each(|inner| visit(inner, set));
        }
    }
}

fn reflect(message: &str, bytes: &[u8]) -> DynamicMessage {
    let pool = DescriptorPool::decode(warren_proto::DESCRIPTORS).unwrap();
    let descriptor = pool.get_message_by_name(&format!("warren.v1.{message}")).unwrap();
    DynamicMessage::decode(descriptor, bytes).unwrap()
}

/// What an earlier Warren wrote is still read, and written the same. `WARREN_BLESS=1` writes the
/// files anew, and beside each a JSON form for whoever reviews the change.
pub fn bytes_are_frozen<D, M>(message: &str, fixtures: &[Fixture<D>])
where
    D: TryFrom<M, Error = Invalid> + PartialEq + fmt::Debug,
    M: Message + Default + for<'a> From<&'a D>,
{
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1");
    for (name, value) in fixtures {
        let bytes = M::from(value).encode_to_vec();
        let json = serde_json::to_string_pretty(&reflect(message, &bytes)).unwrap() + "\n";
        let (bin_file, json_file) =
            (directory.join(format!("{name}.bin")), directory.join(format!("{name}.json")));
        if env::var_os("WARREN_BLESS").is_some_and(|bless| bless == "1") {
            fs::write(&bin_file, &bytes).unwrap();
            fs::write(&json_file, &json).unwrap();
        }
        let frozen = fs::read(&bin_file).unwrap();
        assert_eq!(json, fs::read_to_string(&json_file).unwrap(), "{name}.json");
        assert_eq!(bytes, frozen, "{name}.bin");
        let read = D::try_from(M::decode(frozen.as_slice()).unwrap());
        assert_eq!(read.as_ref(), Ok(value), "{name}.bin");
    }
}
