//! What strangers send, and what we say to it.

use super::*;

/// Each document, where it is wrong, and in which words.
#[test]
fn a_fault_is_told_with_its_place() {
    for (document, at, says) in [
        ("<a>\n <b></a>", "2:5", "`</a>`, expected `</b>`, as it is open since line 2, column 2"),
        ("<a>", "1:4", "the end of the document, expected `</a>`"),
        ("<a/></a>", "1:5", "`</a>` that closes nothing, expected the end"),
        ("<a/><b/>", "1:5", "a second root element, expected the end"),
        ("<a/>x", "1:5", "text outside all elements, expected the end"),
        ("\u{feff}\u{feff}<a/>", "1:1", "text outside all elements, expected an element"),
        ("x<a/>", "1:1", "text outside all elements, expected an element"),
        ("", "1:1", "no element, expected one"),
        ("<!-- -->", "1:9", "no element"),
        ("<a b=1/>", "1:6", "`1` where a value begins, expected a quote `\"`"),
        ("<a b>", "1:5", "the attribute `b` without a value, expected b=\"…\""),
        ("<a b='1' b='2'/>", "1:10", "the attribute `b` twice, expected each once"),
        ("<a b='1'c='2'/>", "1:9", "`c`, expected white space"),
        ("<a b='1'/ >", "1:9", "`/`, expected white space"),
        ("<a b='1", "1:7", "a value without end, expected `'`"),
        ("<a b c='1'/>", "1:6", "the attribute `b` without a value, expected b=\"…\""),
        ("<a/b>", "1:3", "`/`, expected white space"),
        ("<a b/c='1'>", "1:5", "the attribute `b` without a value"),
        ("<a é=“x”/>", "1:6", "the curly quote `“`, expected a straight one"),
        ("<a b=\"x“ c=\"y\"/>", "1:8", "the curly quote `“`, expected a straight one"),
        ("<a b=\"x“ c=\"y>\n</a>", "1:8", "the curly quote `“`, expected a straight one"),
        ("<a b='<'/>", "1:7", "`<` in a value, expected `&lt;`"),
        ("<a b='&x;'/>", "1:7", "the entity `&x;`, expected `&amp;`"),
        ("<a>é&x;</a>", "1:5", "the entity `&x;`, expected `&amp;`"),
        ("<a>& b</a>", "1:4", "a lone `&`, expected `&amp;`"),
        ("<a>&#0;</a>", "1:4", "a reference to no character of XML"),
        ("<a>&#x1F;</a>", "1:4", "a reference to no character of XML"),
        ("<a>&#xD800;</a>", "1:4", "a reference to no character of XML"),
        ("<a>]]></a>", "1:4", "`]]>` in text"),
        ("<a\u{1}/>", "1:3", "the character U+0001, expected a character that XML has"),
        ("<a-{x}/>", "1:4", "`{`, expected an element's name"),
        ("<a:b:c/>", "1:5", "`:`, expected an element's name"),
        ("<a>\n<b:c/></a>", "2:2", "the prefix `b`, which nobody declared, expected xmlns:b=\"…\""),
        ("<1/>", "1:2", "`1`, expected an element's name"),
        ("<a", "1:1", "a tag without end, expected `>`"),
        ("<a><!-- x -- y --></a>", "1:4", "`--` in a comment"),
        ("<a><!-- x", "1:4", "a comment without end"),
        ("<a><![CDATA[x</a>", "1:4", "CDATA without end"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "1:1", "a DOCTYPE, expected an element"),
        ("<!DOCTYPE a [", "1:1", "a DOCTYPE, expected an element"),
        (" <?xml version='1.0'?><a/>", "1:2", "an XML declaration, expected an element"),
        ("<?xml version='2.0'?><a/>", "1:16", "version 2.0, expected 1.0"),
        ("<?xml version='1.'?><a/>", "1:16", "version 1., expected 1.0"),
        ("<?xml encoding='utf-8' version='1.0'?><a/>", "1:32", "`version` in the declaration"),
        ("<?xml version='1.0' encodingng='utf-8'?><a/>", "1:32", "`encodingng` in the declaration"),
        ("<?xml version='1.0' standalone='1'?><a/>", "1:33", "another value of standalone"),
        ("<a><?b“ c?></a>", "1:7", "`“` in the name of an instruction"),
        ("<a><? b?></a>", "1:4", "`<?` and no name of an instruction"),
        ("<a><?XML b?></a>", "1:4", "`<?` and no name of an instruction"),
        ("<?xml version='1.0' encoding='ISO-8859-1'?><a/>", "1:31", "the encoding ISO-8859-1"),
        ("<?xml version='1.0' encoding='us-ascii'?><é/>", "1:31", "the encoding us-ascii"),
    ] {
        let error = fault(document.as_bytes());
        let place = format!("{}:{}", error.at.line, error.at.column);
        assert!(error.to_string().contains(says), "{document}: {error}");
        assert_eq!(place, at, "{document}: {error}");
    }
}

/// Lines end at LF, CR LF and CR, columns count characters, and a byte order mark is no column.
#[test]
fn a_place_is_where_a_person_looks() {
    for document in ["\u{feff}<a>\r\n\r\n éé<", "<a>\n\r éé<", "<a>\r\r\u{1F600}éé<"] {
        let error = fault(document.as_bytes());
        assert_eq!((error.at.line, error.at.column), (3, 5), "{document:?}: {error}");
    }
}

/// A-42: nothing to blow up, and no more of it than was agreed on.
#[test]
fn each_limit_is_the_last_that_is_taken() {
    let limits = Limits { octets: 80, depth: 3, attributes: 2, elements: 4, items: 0 };
    for (fits, over, says) in [
        (" ".repeat(76) + "<a/>", " ".repeat(77) + "<a/>", "81 octets, expected at most 80"),
        ("<a><a><a/></a></a>".into(), "<a><a><a><a/></a></a></a>".into(), "4 deep"),
        ("<a b='' c=''/>".into(), "<a b='' c='' d=''/>".into(), "more than 2 attributes"),
        ("<a><b/><b/><b/></a>".into(), "<a><b/><b/><b/><b/></a>".into(), "5 elements"),
    ] {
        let taken = Source::new(fits.as_bytes(), &limits).unwrap();
        assert!(Document::read(&taken, &limits).is_ok(), "{fits}");
        let error = Source::new(over.as_bytes(), &limits)
            .and_then(|source| Document::read(&source, &limits).map(|_| ()))
            .unwrap_err();
        assert_eq!(error.fault, Fault::TooLarge);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn only_utf_8_is_read() {
    let utf_16: Vec<u8> = "<a/>".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (bytes, says) in [
        (&utf_16[..], "UTF-16, expected UTF-8"),
        (b"\xFF\xFE<\0a\0", "UTF-16, expected UTF-8"),
        (b"\xFE\xFF\0<\0a", "UTF-16, expected UTF-8"),
        (b"\0\0\0<\0\0\0a", "UTF-32, expected UTF-8"),
        (b"<a>\n\xE9t\xE9</a>", "line 2, column 1: the octet 0xE9, which is not UTF-8 here"),
    ] {
        let error = fault(bytes);
        assert_eq!(error.fault, Fault::Charset);
        assert!(error.to_string().contains(says), "{error}");
    }
    assert_eq!(text("\u{feff}<?xml version='1.0' encoding='utf-8'?><a>é</a>"), "é");
}

/// CDATA, comments and references inside a value are still one value.
#[test]
fn a_value_in_pieces_is_one_value() {
    assert_eq!(
        text("<a> tel:<!-- x -->+1<![CDATA[514<&]]>&#x35;&amp;\r\n5<?p i?> </a>"),
        "tel:+1514<&5&\n5"
    );
    assert_eq!(text("<a>\n<b>x</b>\n y <b/> z </a>"), "y  z");
    let document = "<a B='1' b='x &quot;&#13;&#10;\r\ny\t' p:b='2'/>";
    let source = Source::new(document.as_bytes(), &Limits::default()).unwrap();
    let document = Document::read(&source, &Limits::default()).unwrap();
    assert_eq!(document.root().attribute("b"), Some("x \"\r\n y "));
    assert_eq!(document.root().attribute("B"), Some("1"));
    assert_eq!(document.root().attribute("c"), None);
}

#[test]
fn a_prefix_means_its_namespace() {
    let document = "<r xmlns='urn:r' xmlns:p='urn:p'><p:a/><b xmlns=''><c/></b><e/></r>";
    let source = Source::new(document.as_bytes(), &Limits::default()).unwrap();
    let document = Document::read(&source, &Limits::default()).unwrap();
    let root = document.root();
    let spaces: Vec<&Namespace<'_>> = root.children().map(|child| child.namespace()).collect();
    let of = |uri: &'static str| Namespace::Of(uri.into());
    assert_eq!(spaces, [&of("urn:p"), &Namespace::None, &of("urn:r")]);
    assert!(root.children().all(|child| child.belongs_to("urn:r") != child.name().contains(':')));
}

/// An unknown element stands on its own wherever it is put, and stays the same from then on.
#[test]
fn what_is_kept_takes_its_namespaces_along() {
    let document = "<r xmlns='urn:r' xmlns:p='urn:p&quot;' xmlns:q='urn:q'><w xmlns=''>\
                    <p:a q:x='1'><b/><!-- c --></p:a></w></r>";
    let kept = keep(document, "urn:r");
    let expected =
        r#"<p:a xmlns="" xmlns:p="urn:p&quot;" xmlns:q="urn:q" q:x='1'><b/><!-- c --></p:a>"#;
    assert_eq!(kept.as_xml(), expected);
    assert_eq!(kept.name(), "p:a");
    let again = format!("<r xmlns='urn:r'><w>{}</w></r>", kept.as_xml());
    assert_eq!(keep(&again, "urn:r"), kept);
    assert_eq!(keep("<r xmlns='urn:r'><w><a/></w></r>", "urn:r").as_xml(), "<a/>");
}

/// A-42: quotes in tags are straightened, bare values quoted; texts, and quotes within quotes, stay.
#[test]
fn repair_mends_quotes_and_nothing_else() {
    for (before, after) in [
        ("<a b=“x” c=‘y’/>", "<a b=\"x\" c='y'/>"),
        ("<a b=\"x“   c=\"y\" >", "<a b=\"x\"   c=\"y\" >"),
        ("<a b=58175 c=x/y/>", "<a b=\"58175\" c=\"x/y\"/>"),
        ("<a\n b = „x‟>", "<a\n b = \"x\">"),
        ("<a b=\"“x”\" c='“'>“t” = 5</a>", "<a b=\"“x”\" c='“'>“t” = 5</a>"),
        ("<!-- <a b=“x”> --><![CDATA[<a b=1>]]>", "<!-- <a b=“x”> --><![CDATA[<a b=1>]]>"),
        ("<a b=“x \"y\"”>", "<a b=“x \"y\"”>"),
        ("<a b=“x<c d=1>", "<a b=“x<c d=\"1\">"),
        ("<a b=>", "<a b=>"),
        ("<a b=x=y>", "<a b=x=y>"),
        ("<a b", "<a b"),
        ("<", "<"),
    ] {
        let source = Source::new(before.as_bytes(), &Limits::default()).unwrap().repaired();
        assert_eq!(source.text(), after, "{before}");
        assert_eq!(source.edits().is_empty(), before == after);
    }
}

/// After a repair a place is still that of what came.
#[test]
fn places_are_those_of_what_came() {
    let before = "<a b=“x” c=1 d=“é” 2/>";
    let source = Source::new(before.as_bytes(), &Limits::default()).unwrap().repaired();
    let error = Document::read(&source, &Limits::default()).unwrap_err();
    assert_eq!((error.at.line, error.at.column), (1, 20), "{error}");
    let edits: Vec<usize> = source.edits().iter().map(|e| source.place(e).column).collect();
    assert_eq!(edits, [6, 8, 12, 13, 16, 18]);
    assert_eq!(source.line(1), Some(before));
    assert_eq!(source.line(2), None);
}

#[test]
fn what_is_written_reads_as_it_was_meant() {
    let mut writer = Writer::new(Layout::Lines);
    writer.open("r", &[("xmlns", "urn:r")]);
    writer.leaf("a", &[("b", "\"<>&'\t\r\n")], "<&>\"\r\n\té");
    writer.leaf("c", &[], "");
    let written = writer.finish();
    let source = Source::new(written.as_bytes(), &Limits::default()).unwrap();
    let document = Document::read(&source, &Limits::default()).unwrap();
    let a = document.root().children().next().unwrap();
    assert_eq!(a.attribute("b"), Some("\"<>&'\t\r\n"));
    assert_eq!(a.text(), "<&>\"\r\n\té");
    assert!(written.ends_with("  <c/>\n</r>\n"), "{written}");
}

fn fault(bytes: &[u8]) -> DocumentError {
    Source::new(bytes, &Limits::default())
        .and_then(|source| Document::read(&source, &Limits::default()).map(|_| ()))
        .expect_err(&String::from_utf8_lossy(bytes))
}

fn text(document: &str) -> String {
    let source = Source::new(document.as_bytes(), &Limits::default()).unwrap();
    Document::read(&source, &Limits::default()).unwrap().root().text().to_owned()
}

/// The first element within the root's first.
fn keep(document: &str, around: &str) -> Kept {
    let source = Source::new(document.as_bytes(), &Limits::default()).unwrap();
    let document = Document::read(&source, &Limits::default()).unwrap();
    let outer = document.root().children().next().unwrap();
    outer.children().next().unwrap().kept(around)
}
