//! `serde` adapters: text in formats that people read (JSON), plain bytes in postcard.

/// A MAC as `02:00:00:00:00:01`.
pub(crate) mod mac {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};
    use wire::Mac;

    pub(crate) fn serialize<S: Serializer>(mac: &Mac, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(mac)
        } else {
            mac.serialize(serializer)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Mac, D::Error> {
        if deserializer.is_human_readable() {
            String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
        } else {
            Mac::deserialize(deserializer)
        }
    }
}

/// A MAC that may be absent.
pub(crate) mod mac_option {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use wire::Mac;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Readable(#[serde(with = "super::mac")] Mac);

    pub(crate) fn serialize<S: Serializer>(
        mac: &Option<Mac>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        mac.map(Readable).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Mac>, D::Error> {
        Ok(Option::<Readable>::deserialize(deserializer)?.map(|readable| readable.0))
    }
}

/// Bytes as lower-case hex digits.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer
                .serialize_str(&bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
        } else {
            bytes.serialize(serializer)
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        if !deserializer.is_human_readable() {
            return Vec::deserialize(deserializer);
        }
        let text = String::deserialize(deserializer)?;
        let digits: Vec<u32> = text.chars().map_while(|c| c.to_digit(16)).collect();
        if digits.len() != text.chars().count() || !digits.len().is_multiple_of(2) {
            return Err(D::Error::custom("expected pairs of hex digits"));
        }
        Ok(digits
            .chunks_exact(2)
            .map(|pair| pair.iter().fold(0u8, |byte, digit| (byte << 4) | (digit & 0xf) as u8))
            .collect())
    }
}
