// Texts of data files in UTF-8, whatever they are stored in.
#pragma once

#include <string>
#include <string_view>

namespace qualm {

// The text in UTF-8 and without a byte order mark: a part of `text`, or of `storage` where it had
// to be converted. `encoding` is a name of iconv's or of Python's ("gbk", "cp1252", "latin-1",
// "utf-16"); empty: the text must be UTF-8. Throws bad input for an unknown name, and with the line
// for bytes that are not in the encoding.
std::string_view DecodedText(std::string_view text, std::string_view encoding,
                             std::string_view place, std::string& storage);

// The encoding that an XML declaration at the front names; empty: none.
std::string_view DeclaredXmlEncoding(std::string_view text);

}  // namespace qualm
