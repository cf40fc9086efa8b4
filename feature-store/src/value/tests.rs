//! What each dtype accepts and how it is written.

use serde_json::json;

use super::*;

fn from_json(dtype: Dtype, value: &Value) -> Result<Value, WrongType> {
    dtype
        .from_json(value)
        .map(|value| serde_json::to_value(value.as_ref().map(FeatureValue::cell)).unwrap())
}

fn from_text(dtype: Dtype, text: &str) -> Result<Value, WrongType> {
    dtype
        .from_text(text)
        .map(|value| serde_json::to_value(value.as_ref().map(FeatureValue::cell)).unwrap())
}

#[test]
fn json_comes_back_as_it_was() {
    for (dtype, value) in [
        (Dtype::Float64, json!(0.076)),
        (Dtype::Float64, json!("NaN")),
        (Dtype::Float64, json!("-Infinity")),
        (Dtype::Float32, json!(0.1)),
        (Dtype::Float32, json!("Infinity")),
        (Dtype::Int64, json!(i64::MIN)),
        (Dtype::Int32, json!(-7)),
        (Dtype::String, json!("")),
        (Dtype::Bool, json!(false)),
        (Dtype::Bytes, json!("AP8n")),
        (Dtype::Bytes, json!("")),
    ] {
        assert_eq!(from_json(dtype, &value), Ok(value));
    }
    assert_eq!(from_json(Dtype::Float64, &json!(3)), Ok(json!(3.0)));
    assert_eq!(
        from_json(Dtype::Float32, &json!(0.123_456_789_012)),
        Ok(json!(0.123_456_79)),
        "as near as an f32 comes"
    );
    assert_eq!(
        from_json(Dtype::Int64, &json!(5.0)),
        Ok(json!(5)),
        "pandas writes integers so beside nulls"
    );
    for dtype in [
        Dtype::Float64,
        Dtype::Int64,
        Dtype::String,
        Dtype::Bool,
        Dtype::Bytes,
    ] {
        assert_eq!(from_json(dtype, &Value::Null), Ok(Value::Null));
    }
}

#[test]
fn json_of_another_type_is_refused() {
    for (dtype, value) in [
        (Dtype::Float64, json!("0.5")),
        (Dtype::Float64, json!(true)),
        (Dtype::Float32, json!(1e39)),
        (Dtype::Int64, json!(0.5)),
        (Dtype::Int64, json!(1e300)),
        (Dtype::Int64, json!(u64::MAX)),
        (Dtype::Int32, json!(2_147_483_648_i64)),
        (Dtype::String, json!(1)),
        (Dtype::Bool, json!(1)),
        (Dtype::Bytes, json!("not base64!")),
        (Dtype::String, json!(["a"])),
    ] {
        assert_eq!(from_json(dtype, &value), Err(WrongType(dtype)), "{value}");
    }
    assert_eq!(WrongType(Dtype::Int32).to_string(), "not a int32");
}

#[test]
fn text_is_read_by_the_dtype() {
    for (dtype, text, value) in [
        (Dtype::Float64, "0.9978", json!(0.9978)),
        (Dtype::Float64, " 11 ", json!(11.0)),
        (Dtype::Float64, "nan", json!("NaN")),
        (Dtype::Int64, "-3", json!(-3)),
        (Dtype::String, " a ", json!(" a ")),
        (Dtype::Bool, "True", json!(true)),
        (Dtype::Bool, "0", json!(false)),
        (Dtype::Bytes, "AP8n", json!("AP8n")),
        (Dtype::Float64, "", Value::Null),
        (Dtype::String, "", Value::Null),
    ] {
        assert_eq!(from_text(dtype, text), Ok(value), "{text:?}");
    }
    for (dtype, text) in [
        (Dtype::Float64, "a"),
        (Dtype::Int64, "1.5"),
        (Dtype::Int32, "3000000000"),
        (Dtype::Bool, "yes"),
    ] {
        assert_eq!(from_text(dtype, text), Err(WrongType(dtype)), "{text:?}");
    }
}

#[test]
fn the_ends_of_the_floats_are_values_and_what_is_beyond_is_refused() {
    let float = |number| Ok(Some(FeatureValue::Float(number)));
    let json = |dtype: Dtype, text: &str| dtype.from_json(&serde_json::from_str(text).unwrap());
    for text in ["3.4028234663852886e38", "3.4028235e38", "3.40282347E+38"] {
        let largest = 3.402_823_5e38;
        assert_eq!(json(Dtype::Float32, text), float(largest), "{text}");
        assert_eq!(Dtype::Float32.from_text(text), float(largest), "{text}");
    }
    for (text, number) in [
        ("1.7976931348623157e308", f64::MAX),
        ("-1.7976931348623157e308", f64::MIN),
        ("5e-324", 5e-324),
    ] {
        assert_eq!(json(Dtype::Float64, text), float(number));
        assert_eq!(Dtype::Float64.from_text(text), float(number));
    }
    for text in ["1e400", "-1e400", "1.8e308"] {
        assert_eq!(
            Dtype::Float64.from_text(text),
            Err(WrongType(Dtype::Float64)),
            "{text}"
        );
    }
    for text in ["1e39", "-3.5e38"] {
        assert_eq!(json(Dtype::Float32, text), Err(WrongType(Dtype::Float32)));
        assert_eq!(
            Dtype::Float32.from_text(text),
            Err(WrongType(Dtype::Float32))
        );
    }
    for text in ["inf", "Infinity", "+inf"] {
        assert_eq!(Dtype::Float32.from_text(text), float(f64::INFINITY));
    }
}
