//! The pages' own few words, in Vietnamese and in English, and how lengths and sizes are written in each.

/// The words of one language.
pub struct Words {
    pub courses: &'static str,
    lecture: &'static str,
    lectures: &'static str,
    pub play: &'static str,
    pub data: &'static str,
    pub data_note: &'static str,
    pub way: &'static str,
    pub size: &'static str,
    pub files: &'static str,
    pub whole: &'static str,
    pub before: &'static str,
    pub previous: &'static str,
    pub next: &'static str,
    pub licence: &'static str,
    pub release: &'static str,
    pub from: &'static str,
    pub loading: &'static str,
    pub offline: &'static str,
    pub broken: &'static str,
    pub unsupported: &'static str,
    pub no_script: &'static str,
    pub withdrawn: &'static str,
    hour: &'static str,
    minute: &'static str,
    second: &'static str,
    decimal: char,
}

const VI: Words = Words {
    courses: "Các khóa học",
    lecture: "bài giảng",
    lectures: "bài giảng",
    play: "Xem bài giảng",
    data: "Dung lượng",
    data_note: "Số MB để xem hết bài, tính cả tiếng. Trình phát tự chọn mức hợp với đường truyền.",
    way: "Hình",
    size: "Cả bài",
    files: "Tải về",
    whole: "Cả bài trong một tệp nhỏ, để xem khi không có mạng (MP4)",
    before: "Nên xem trước",
    previous: "Bài trước",
    next: "Bài sau",
    licence: "Giấy phép",
    release: "Bản phát hành",
    from: "từ",
    loading: "Đang mở bài giảng…",
    offline: "Mất kết nối. Bấm để thử lại; bài sẽ tiếp tục từ chỗ đang xem.",
    broken: "Không phát được bài này. Bấm để thử lại.",
    unsupported: "Trình duyệt này không phát được bài giảng. Hãy thử Chrome, Firefox hoặc Safari bản mới.",
    no_script: "Mở bài giảng bằng trình phát khác (HLS)",
    withdrawn: "Bài giảng này đã được gỡ bỏ.",
    hour: "giờ",
    minute: "phút",
    second: "giây",
    decimal: ',',
};

const EN: Words = Words {
    courses: "Courses",
    lecture: "lecture",
    lectures: "lectures",
    play: "Play the lecture",
    data: "Data use",
    data_note: "Megabytes for the whole lecture, voice included. The player picks what your link can carry.",
    way: "Picture",
    size: "Whole lecture",
    files: "Downloads",
    whole: "The whole lecture in one small file, to watch without a network (MP4)",
    before: "Watch first",
    previous: "Previous",
    next: "Next",
    licence: "Licence",
    release: "Release",
    from: "from",
    loading: "Opening the lecture…",
    offline: "The connection is lost. Tap to try again; it goes on from where you are.",
    broken: "This lecture does not play. Tap to try again.",
    unsupported: "This browser cannot play the lecture. Try a recent Chrome, Firefox or Safari.",
    no_script: "Open the lecture in another player (HLS)",
    withdrawn: "This lecture was withdrawn.",
    hour: "h",
    minute: "min",
    second: "s",
    decimal: '.',
};

impl Words {
    /// Vietnamese for `vi` and `vi-VN`, English for all else.
    pub fn of(language: &str) -> &'static Words {
        match language.split('-').next().is_some_and(|l| l.eq_ignore_ascii_case("vi")) {
            true => &VI,
            false => &EN,
        }
    }

    /// `1 lecture`, `12 lectures`.
    pub fn lectures(&self, count: usize) -> String {
        format!("{count}\u{a0}{}", if count == 1 { self.lecture } else { self.lectures })
    }

    /// `1 h 05 min`, `7 min`, `41 s`; minutes are rounded. A number and its unit stay on one line.
    pub fn length(&self, seconds: f64) -> String {
        if seconds < 99.5 {
            return format!("{:.0}\u{a0}{}", seconds.max(0.0), self.second);
        }
        let minutes = (seconds / 60.0).round() as u64;
        match (minutes / 60, minutes % 60) {
            (0, m) => format!("{m}\u{a0}{}", self.minute),
            (h, 0) => format!("{h}\u{a0}{}", self.hour),
            (h, m) => format!("{h}\u{a0}{} {m:02}\u{a0}{}", self.hour, self.minute),
        }
    }

    /// `0.4 MB`, `9.7 MB`, `120 MB`: rounded up, as a price; megabytes of a million, as data plans are sold.
    pub fn megabytes(&self, bytes: u64) -> String {
        let tenths = bytes.div_ceil(100_000);
        match tenths {
            0..100 => format!("{}{}{}\u{a0}MB", tenths / 10, self.decimal, tenths % 10),
            _ => format!("{}\u{a0}MB", bytes.div_ceil(1_000_000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_tag_chooses_the_words() {
        for (tag, courses) in [("vi", VI.courses), ("VI-vn", VI.courses), ("en", EN.courses), ("via", EN.courses), ("", EN.courses)] {
            assert_eq!(Words::of(tag).courses, courses, "{tag}");
        }
    }

    #[test]
    fn lengths_and_prices_read_well() {
        let en = |s| EN.length(s).replace('\u{a0}', " ");
        assert_eq!(
            [en(41.4), en(99.6), en(420.0), en(3600.0), en(3900.0), en(-1.0)],
            ["41 s", "2 min", "7 min", "1 h", "1 h 05 min", "0 s"]
        );
        // Don't promise less than it costs.
        assert_eq!(EN.megabytes(1), "0.1\u{a0}MB");
        assert_eq!(VI.megabytes(9_700_001), "9,8\u{a0}MB");
        assert_eq!(EN.megabytes(9_950_000), "10\u{a0}MB");
        assert_eq!(EN.megabytes(119_000_001), "120\u{a0}MB");
        assert_eq!((EN.lectures(1), EN.lectures(2)), ("1\u{a0}lecture".into(), "2\u{a0}lectures".into()));
        assert_eq!(EN.megabytes(0), "0.0\u{a0}MB");
    }
}
