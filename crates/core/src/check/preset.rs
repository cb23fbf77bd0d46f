//! Checks for servers that many people run, so that not everybody has to find out anew what
//! answers truly. `docs/checks.md` has the table with the reasons.

use std::str::FromStr;

use super::{
    Check, CheckKind, Checks, Command, ExecCheck, HttpCheck, HttpPath, Payload, Role, StatusSet,
    TcpCheck, TextMatch, Timing,
};
use crate::{
    Invalid,
    bounds::{Delay, Period, Port, Threshold, Timeout},
    spec::ImageRef,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Preset {
    Postgres,
    Redis,
    Mysql,
    Mongodb,
    Rabbitmq,
    Nats,
    Kafka,
    Memcached,
    Etcd,
    Nginx,
}

/// A preset as a service has it. What is `None` is the preset's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PresetCheck {
    /// `None`: the one that the image's name stands for.
    pub preset: Option<Preset>,
    pub port: Option<Port>,
    pub period: Option<Period>,
    pub timeout: Option<Timeout>,
    pub start_period: Option<Delay>,
    pub failures: Option<Threshold>,
}

impl PresetCheck {
    /// The preset that counts for a task of this image. `None` for the image: it has none.
    pub fn chosen(&self, image: Option<&ImageRef>) -> Result<Preset, Invalid> {
        if let Some(preset) = self.preset {
            return Ok(preset);
        }
        let Some(image) = image else {
            return Err(Invalid::new("is chosen by the image's name, and there is no image"));
        };
        Preset::of_image(image).ok_or_else(|| {
            let names = Preset::ALL.map(Preset::name).join(", ");
            Invalid::new(format!("none goes by the image's name {image}; there are {names}"))
        })
    }

    /// What a task of this image runs.
    pub fn checks(&self, image: Option<&ImageRef>) -> Result<Checks, Invalid> {
        let Self { preset: _, port, period, timeout, start_period, failures } = *self;
        let preset = self.chosen(image)?;
        let own = preset.timing();
        let period = period.unwrap_or(own.period);
        let timing = Timing {
            period,
            timeout: timeout.unwrap_or(own.timeout),
            start_period: start_period.unwrap_or(own.start_period),
            confirm_interval: Timing::quick(period),
            start_interval: Timing::quick(period),
            failures: failures.unwrap_or(own.failures),
            ..own
        };
        let looks = preset.looks(port.unwrap_or_else(|| preset.port()))?;
        let mut checks = Checks::one(looks.alive, timing);
        let steady = Timing { start_period: Delay::MIN, ..timing };
        checks.readiness = Some(Check { kind: looks.ready, timing: steady });
        Ok(checks)
    }
}

/// How to look whether a server lives, and whether it serves.
struct Looks {
    alive: CheckKind,
    ready: CheckKind,
}

impl Looks {
    fn both(kind: CheckKind) -> Self {
        Self { alive: kind.clone(), ready: kind }
    }
}

/// On its own address where it has one: a server that is being set up listens on its unix socket
/// alone, and must not look ready by that.
const ADDRESS: &str = "\"${WARREN_TASK_IP:-127.0.0.1}\"";

/// `{ ping: 1, $db: "admin" }` as `OP_MSG`.
const MONGODB_PING: &[u8] = b"\x33\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\
    \x1e\0\0\0\x10ping\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0";
/// `ok: 1.0` in BSON.
const MONGODB_OK: &str = r"(?s-u)\x01ok\x00\x00\x00\x00\x00\x00\x00\xf0\x3f";
/// The protocol header of 0-9-1.
const AMQP_HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// A frame of channel 0 with the method connection.start.
const AMQP_START: &str = r"(?s-u)^\x01\x00\x00....\x00\x0a\x00\x0a";
/// `ApiVersions` 0, which every broker answers to everybody, under a correlation id that is found
/// again.
const KAFKA_VERSIONS: &[u8] = b"\0\0\0\x16\0\x12\0\0WRRN\0\x0cwarren-check";
/// That id, and no error.
const KAFKA_ANSWER: &str = r"(?s-u)^....WRRN\x00\x00";

impl Preset {
    pub const ALL: [Self; 10] = [
        Self::Postgres,
        Self::Redis,
        Self::Mysql,
        Self::Mongodb,
        Self::Rabbitmq,
        Self::Nats,
        Self::Kafka,
        Self::Memcached,
        Self::Etcd,
        Self::Nginx,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::Mysql => "mysql",
            Self::Mongodb => "mongodb",
            Self::Rabbitmq => "rabbitmq",
            Self::Nats => "nats",
            Self::Kafka => "kafka",
            Self::Memcached => "memcached",
            Self::Etcd => "etcd",
            Self::Nginx => "nginx",
        }
    }

    /// Last parts of images' names that stand for the server.
    pub const fn images(self) -> &'static [&'static str] {
        match self {
            Self::Postgres => &["postgres", "postgresql", "postgis", "timescaledb", "pgvector"],
            Self::Redis => &["redis", "valkey", "redis-stack-server"],
            Self::Mysql => &["mysql", "mysql-server", "mariadb", "percona", "percona-server"],
            Self::Mongodb => &["mongo", "mongodb", "mongodb-community-server"],
            Self::Rabbitmq => &["rabbitmq"],
            Self::Nats => &["nats"],
            Self::Kafka => &["kafka", "cp-kafka", "kafka-native"],
            Self::Memcached => &["memcached"],
            Self::Etcd => &["etcd"],
            Self::Nginx => &["nginx"],
        }
    }

    pub fn of_image(image: &ImageRef) -> Option<Self> {
        let name = image.repository().rsplit('/').next()?;
        Self::ALL.into_iter().find(|preset| preset.images().contains(&name))
    }

    /// Where the server listens unless it is told otherwise.
    pub const fn port(self) -> Port {
        Port::new_const(match self {
            Self::Postgres => 5432,
            Self::Redis => 6379,
            Self::Mysql => 3306,
            Self::Mongodb => 27017,
            Self::Rabbitmq => 5672,
            Self::Nats => 4222,
            Self::Kafka => 9092,
            Self::Memcached => 11211,
            Self::Etcd => 2379,
            Self::Nginx => 80,
        })
    }

    /// For how long its failures are ignored at most: what a server with much to read needs. The
    /// first pass ends it, and an exit is seen at once.
    pub const fn start_period(self) -> Delay {
        Delay::from_millis_const(match self {
            Self::Postgres | Self::Mysql => 300_000,
            Self::Redis | Self::Mongodb | Self::Rabbitmq | Self::Kafka => 120_000,
            Self::Etcd => 60_000,
            Self::Nats | Self::Memcached | Self::Nginx => 30_000,
        })
    }

    fn timing(self) -> Timing {
        Timing { start_period: self.start_period(), ..Timing::default_for(Role::Liveness) }
    }

    fn looks(self, port: Port) -> Result<Looks, Invalid> {
        let speaks = |send: &[u8], expect: &str| -> Result<Looks, Invalid> {
            Ok(Looks::both(CheckKind::Tcp(TcpCheck {
                send: Payload::new(send)?,
                expect: Some(TextMatch::regex(expect)?),
                ..TcpCheck::new(port)
            })))
        };
        let runs = |line: String| -> Result<Looks, Invalid> {
            Ok(Looks::both(CheckKind::Exec(ExecCheck::new(Command::shell(line)?))))
        };
        match self {
            Self::Postgres => runs(format!("exec pg_isready -h {ADDRESS} -p {port}")),
            Self::Mysql => runs(format!(
                "exec \"$(command -v mariadb-admin || echo mysqladmin)\" ping --protocol=tcp \
                 -h {ADDRESS} -P {port} --connect-timeout=4"
            )),
            Self::Redis => speaks(b"PING\r\n", r"^\+PONG\r\n"),
            Self::Mongodb => speaks(MONGODB_PING, MONGODB_OK),
            Self::Rabbitmq => speaks(AMQP_HEADER, AMQP_START),
            Self::Nats => speaks(b"", r"^INFO \{"),
            Self::Kafka => speaks(KAFKA_VERSIONS, KAFKA_ANSWER),
            Self::Memcached => speaks(b"version\r\n", "^VERSION "),
            Self::Etcd => Ok(Looks {
                alive: CheckKind::Http(get(port, "/version")?),
                ready: CheckKind::Http(HttpCheck {
                    body: Some(TextMatch::contains("\"health\":\"true\"")?),
                    ..get(port, "/health")?
                }),
            }),
            Self::Nginx => Ok(Looks {
                alive: CheckKind::Http(expecting(port, 599)?),
                ready: CheckKind::Http(expecting(port, 499)?),
            }),
        }
    }
}

fn get(port: Port, path: &str) -> Result<HttpCheck, Invalid> {
    Ok(HttpCheck { path: HttpPath::new(path)?, ..HttpCheck::new(port) })
}

fn expecting(port: Port, last: u16) -> Result<HttpCheck, Invalid> {
    Ok(HttpCheck { expect: StatusSet::new(vec![(200, last)])?, ..HttpCheck::new(port) })
}

impl FromStr for Preset {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        Self::ALL.into_iter().find(|preset| preset.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Invalid::new(format!("{text:?} is not a preset; there are auto, {names}"))
        })
    }
}

mod wire {
    use warren_proto::v1 as pb;

    use super::{Preset, PresetCheck};
    use crate::{
        Invalid,
        bounds::{Port, Threshold},
        invalid::At,
        wire::{enumerated, optional, wire_enum},
    };

    wire_enum!(
        Preset: Postgres, Redis, Mysql, Mongodb, Rabbitmq, Nats, Kafka, Memcached, Etcd, Nginx
    );

    impl From<&PresetCheck> for pb::PresetCheck {
        fn from(check: &PresetCheck) -> Self {
            let PresetCheck { preset, port, period, timeout, start_period, failures } = *check;
            Self {
                preset: preset.map_or(pb::Preset::Unspecified, pb::Preset::from).into(),
                port: port.map_or(0, |port| port.get().into()),
                period: period.map(Into::into),
                timeout: timeout.map(Into::into),
                start_period: start_period.map(Into::into),
                failures: failures.map(Threshold::get),
            }
        }
    }

    impl TryFrom<pb::PresetCheck> for PresetCheck {
        type Error = Invalid;

        fn try_from(wire: pb::PresetCheck) -> Result<Self, Invalid> {
            let pb::PresetCheck { preset, port, period, timeout, start_period, failures } = wire;
            Ok(Self {
                preset: match preset {
                    0 => None,
                    number => Some(enumerated::<pb::Preset, Preset>("preset", number)?),
                },
                port: match port {
                    0 => None,
                    number => Some(Port::new(number).at("port")?),
                },
                period: optional("period", period)?,
                timeout: optional("timeout", timeout)?,
                start_period: optional("start_period", start_period)?,
                failures: failures.map(Threshold::new).transpose().at("failures")?,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(image: &str) -> Option<&'static str> {
        Preset::of_image(&image.parse().unwrap()).map(Preset::name)
    }

    #[test]
    fn an_image_stands_for_a_preset_by_the_last_part_of_its_name() {
        for (image, name) in [
            ("postgres", Some("postgres")),
            ("postgis/postgis:16-3.4", Some("postgres")),
            ("redis:7", Some("redis")),
            ("valkey/valkey:8", Some("redis")),
            ("mariadb:11", Some("mysql")),
            ("mongo:7", Some("mongodb")),
            ("rabbitmq:3-management", Some("rabbitmq")),
            ("apache/kafka:3.8.0", Some("kafka")),
            ("quay.io/coreos/etcd:v3.5.9", Some("etcd")),
            ("registry:5000/team/nginx", Some("nginx")),
            ("my-redis", None),
            ("nginxinc/nginx-unprivileged", None),
            ("redis/app", None),
        ] {
            assert_eq!(chosen(image), name, "{image}");
        }
    }

    /// C-160: `+PONG` passes, and what a server says that does not serve does not.
    #[test]
    fn only_the_right_answer_of_each_server_passes() {
        let passes = |preset: Preset, answer: &[u8]| {
            let Looks { ready, .. } = preset.looks(preset.port()).unwrap();
            let CheckKind::Tcp(TcpCheck { expect: Some(expect), .. }) = ready else {
                panic!("{preset:?}")
            };
            expect.is_match(answer)
        };
        for (preset, right, wrong) in [
            (
                Preset::Redis,
                &b"+PONG\r\n"[..],
                &[
                    &b"-LOADING Redis is loading the dataset in memory\r\n"[..],
                    b"-NOAUTH Authentication required.\r\n",
                    b"-MISCONF PONG\r\n",
                    b"",
                ][..],
            ),
            (Preset::Memcached, b"VERSION 1.6.18\r\n", &[b"ERROR\r\n"]),
            (Preset::Nats, b"INFO {\"server_id\":\"N\"}\r\n", &[b"-ERR 'max connections'\r\n"]),
            (
                Preset::Mongodb,
                b"\x26\0\0\0\x07\0\0\0\x01\0\0\0\xdd\x07\0\0\0\0\0\0\0\
                  \x11\0\0\0\x01ok\0\0\0\0\0\0\0\xf0\x3f\0",
                &[b"\x11\0\0\0\x01ok\0\0\0\0\0\0\0\0\0\0"],
            ),
            (
                Preset::Rabbitmq,
                b"\x01\0\0\0\0\x01\xf7\0\x0a\0\x0a\0\x09",
                &[b"AMQP\x00\x00\x09\x01", b"\x01\0\0\0\0\0\x10\0\x0a\0\x32"],
            ),
            (
                Preset::Kafka,
                b"\0\0\x01\x0aWRRN\0\0\0\0\0\x2b",
                &[b"\0\0\x01\x0aWRRN\0\x23\0\0", b"HTTP/1.1 400 Bad Request\r\n"],
            ),
        ] {
            assert!(passes(preset, right), "{preset:?}");
            for wrong in wrong {
                assert!(!passes(preset, wrong), "{preset:?}: {}", wrong.escape_ascii());
            }
        }
    }

    #[test]
    fn the_messages_are_as_long_as_they_say() {
        let length = |bytes: &[u8]| u32::from_le_bytes(bytes[..4].try_into().unwrap()) as usize;
        assert_eq!(length(MONGODB_PING), MONGODB_PING.len());
        assert_eq!(length(&MONGODB_PING[21..]), MONGODB_PING.len() - 21);
        let size = u32::from_be_bytes(KAFKA_VERSIONS[..4].try_into().unwrap()) as usize;
        assert_eq!(size, KAFKA_VERSIONS.len() - 4);
    }

    /// C-162.
    #[test]
    fn what_the_owner_says_stands_in_the_place_of_the_presets_own() {
        let own = PresetCheck { preset: Some(Preset::Redis), ..PresetCheck::default() };
        let checks = own.checks(None).unwrap();
        let startup = checks.startup.unwrap().timing;
        assert_eq!(startup.start_period, Preset::Redis.start_period());
        let liveness = checks.liveness.unwrap();
        assert_eq!(liveness.timing, Timing::default_for(Role::Liveness));
        assert_eq!(checks.readiness.unwrap(), liveness, "they share one check");

        let changed = PresetCheck {
            port: Some(Port::new(7000).unwrap()),
            period: Some(Period::from_millis_const(500)),
            timeout: Some(Timeout::from_millis_const(300)),
            start_period: Some(Delay::MIN),
            failures: Some(Threshold::new_const(9)),
            ..own
        };
        let checks = changed.checks(None).unwrap();
        assert_eq!(checks.startup, None);
        let Check { kind, timing } = checks.liveness.unwrap();
        let CheckKind::Tcp(TcpCheck { endpoint, .. }) = kind else { panic!("{kind:?}") };
        assert_eq!(endpoint, TcpCheck::new(Port::new(7000).unwrap()).endpoint);
        assert_eq!(timing.timeout.get().as_millis(), 300);
        assert_eq!(timing.confirm_interval.get().as_millis(), 500);
        assert_eq!(timing.failures.get(), 9);
    }

    #[test]
    fn without_a_name_the_image_must_stand_for_one() {
        let auto = PresetCheck::default();
        let image = |name: &str| name.parse::<ImageRef>().unwrap();
        assert_eq!(auto.chosen(Some(&image("redis"))), Ok(Preset::Redis));
        let why = auto.chosen(Some(&image("busybox"))).unwrap_err().to_string();
        assert!(
            why.starts_with("none goes by the image's name docker.io/library/busybox"),
            "{why}"
        );
        assert!(auto.chosen(None).unwrap_err().to_string().contains("there is no image"));
    }

    #[test]
    fn every_preset_makes_valid_checks() {
        for preset in Preset::ALL {
            let own = PresetCheck { preset: Some(preset), ..PresetCheck::default() };
            let checks = own.checks(None).unwrap();
            assert!(Role::ALL.iter().all(|role| checks.get(*role).is_some()), "{preset:?}");
            assert_eq!(preset.name().parse(), Ok(preset));
        }
    }
}
