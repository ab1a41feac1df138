// The page's two languages; the choice is kept in the browser.
const WORDS = {
  zh: {
    title: "沙盒", not_feishu: "本地沙盒，不是飞书。", not_feishu_more: "这里的人、群和消息都是虚构的，不会离开这台电脑。",
    chats: "会话", platform: "开放平台", live: "实时更新", offline: "连接已断开，正在重连",
    new_group: "新建群", open_conversation: "打开机器人会话", back: "返回", members: "成员", name: "名字",
    add_member: "添加成员", remove: "移出", send: "发送", say: "发一条消息，@ 提及", act_as: "身份", at_bot: "@机器人",
    people_count: "{n} 人", bot_out: "机器人不在群里", dissolved: "群已解散", p2p: "与机器人的单聊",
    recalled: "撤回了一条消息", recall: "撤回", edited: "已编辑", bot: "机器人", owner: "群主", empty_chat: "还没有消息。添加一位成员，看看机器人怎么欢迎。",
    empty_p2p: "还没有消息。", nobody: "群里还没有人", cancel: "取消", create: "创建", open: "打开", ok: "确定", who: "谁", someone_new: "一位新同事",
    with_bot: "把机器人拉进群", conversation_hint: "第一次打开会推送 p2p_chat_create，每次打开都会推送 bot_p2p_chat_entered。",
    webhook: "请求地址", webhook_hint: "保存时像飞书一样先发送 url_verification，1 秒内答对才保存。", save: "保存", saved: "已保存",
    clock: "平台时钟", clock_hint: "重推间隔 15 秒、5 分钟、1 小时、6 小时，以及去重窗口都按这个速度走。", reset: "重置沙盒",
    reset_hint: "清空群、消息和推送，回到最初的样子。", reset_sure: "确定清空吗？", faults: "故障开关", faults_hint: "作用于之后的调用、推送和长连接，用来演练。",
    how_often: "次数", until_off: "直到关闭", next_times: "接下来 {n} 次", limits: "频率", quiet: "最近一分钟没有调用",
    fault_down: "断网", fault_slow: "慢 5 秒", fault_5xx: "HTTP 502", fault_token_expired: "令牌失效", fault_limit_hit: "触发频率限制", fault_drop_answer: "丢弃响应",
    fault_no_ack: "忽略确认", fault_half_open: "半开连接", fault_duplicate: "全部重复推送", fault_reorder: "推送乱序", fault_path: "只对含此内容的路径或事件（可不填）",
    long_connection: "长连接", transport: "接收方式", transport_hint: "保存长连接时，至少要有一个客户端在线。", no_connections: "没有长连接在线", connection_about: "送达 {sent}，确认 {acked}，心跳 {pings}", drop: "断开全部连接",
    scenarios: "剧本", scenarios_hint: "按步骤演练：人们入群、说话、按按钮，平台出故障。也可以把你在这里做的录成剧本，分享给别人。", play: "播放", play_file: "播放文件…", stop: "停止", close: "关闭", step_of: "第 {n} / {of} 步",
    scenario_done: "已播完", scenario_failed: "中断：", scenario_stopped: "已停止", record_start: "开始录制", record_stop: "停止录制", recorded: "下载录制的剧本（{n} 步）",
    today: "今天", new_messages: "{n} 条新消息 ↓", unread: "未读", profile: "机器人资料", message_it: "发消息", everyone: "所有人", you: "当前身份", act_as_person: "以 {name} 的身份", search: "搜索成员", nobody_found: "没有找到", more_members: "还有 {n} 人，可搜索",
    events: "事件", encryption: "加密推送", on: "开", off_now: "关", connections: "长连接", groups_in: "所在的群", scopes_missing: "缺少的权限", none: "无", filter: "筛选", more: "更多", nothing_found: "没有符合的", per_call: "接口", per_chat: "群、单聊、消息", peak_second: "一分钟内最满的一秒", second: "每秒", minute: "每分钟",
    none_active: "没有打开的故障", off: "关闭", left: "还剩 {n} 次", pushes: "推送", calls: "接口调用", no_pushes: "还没有推送", no_calls: "机器人还没有调用过接口",
    again: "再推一次", next_try: "下次 {t}", tries: "{n} 次", acked: "已确认", retrying: "等待重推", gone: "已放弃", waiting: "发送中", sending: "发送中",
    "no webhook": "未配置地址", unknown_call: "沙盒不认识", request: "请求", answer: "响应", no_callback: "这个按钮不会回调",
    comma: "、", and_more: " 等 {n} 人", note_joined: "{by} 邀请 {who} 加入了群聊", note_left: "{who} 退出了群聊", note_came: "{who} 加入了群聊", note_removed: "{by} 将 {who} 移出了群聊", note_bot_joined: "{by} 将 {name} 添加到群聊", note_bot_removed: "{by} 将 {name} 移出了群聊", note_renamed: "{by} 将群名改为“{name}”", note_dissolved: "{by} 解散了群聊",
    draft: "[草稿] ", reply: "回复", react: "表情", edit: "编辑", in_thread: "以话题回复", thread: "话题", pinned: "已 Pin", notice: "置顶", buzzed: "已加急 {n} 人", only_for: "仅 {name} 可见",
    attach: "图片或文件", rename: "改名", leave: "退群", bot_joins: "拉入机器人", bot_leaves: "移出机器人", dissolve: "解散", dissolve_sure: "解散后聊天记录不再可读。", manager: "管理员",
    scopes: "权限", scopes_hint: "没有“获取群组中所有消息”时，机器人读不到群历史，也只收到 @它 的消息。", group_messages: "获取群组中所有消息",
    timeout: "超时", "no connection": "无法连接", "connection lost": "连接中断", "unknown host": "域名无法解析", press_ok: "已回调，{ms} 毫秒", press_failed: "出错了，请稍后重试  code: {code}",
  },
  en: {
    title: "Sandbox", not_feishu: "A local sandbox, not Feishu.", not_feishu_more: "People, groups and messages here are invented and never leave this computer.",
    chats: "Chats", platform: "Platform", live: "updates live", offline: "connection lost, trying again",
    new_group: "New group", open_conversation: "Chat with the bot", back: "Back", members: "Members", name: "Name",
    add_member: "Add member", remove: "Remove", send: "Send", say: "Write a message, @ mentions", act_as: "As", at_bot: "@bot",
    people_count: "{n} people", bot_out: "the bot is not in this group", dissolved: "dissolved", p2p: "direct chat with the bot",
    recalled: "recalled a message", recall: "Recall", edited: "edited", bot: "BOT", owner: "Owner", empty_chat: "No messages yet. Add a member and see how the bot greets them.",
    empty_p2p: "No messages yet.", nobody: "Nobody is in this group yet", cancel: "Cancel", create: "Create", open: "Open", ok: "OK", who: "Who", someone_new: "Somebody new",
    with_bot: "Bring the bot in", conversation_hint: "The first time pushes p2p_chat_create; every time pushes bot_p2p_chat_entered.",
    webhook: "Request URL", webhook_hint: "Saving sends url_verification first, as Feishu does; it must be answered within 1 s.", save: "Save", saved: "Saved",
    clock: "The platform's clock", clock_hint: "Retries after 15 s, 5 min, 1 h, 6 h and the uuid windows run at this speed.", reset: "Reset the sandbox",
    reset_hint: "Empties groups, messages and pushes; back to the beginning.", reset_sure: "Empty everything?", faults: "Faults", faults_hint: "They act on the next calls, pushes and connections: rehearse an outage.",
    how_often: "How often", until_off: "until switched off", next_times: "the next {n}", limits: "Rates", quiet: "no calls in the last minute",
    fault_down: "Down", fault_slow: "Slow by 5 s", fault_5xx: "HTTP 502", fault_token_expired: "Token expired", fault_limit_hit: "Limit hit", fault_drop_answer: "Drop the answer",
    fault_no_ack: "No ack counts", fault_half_open: "Half-open sockets", fault_duplicate: "Duplicate everything", fault_reorder: "Out of order", fault_path: "only paths or events that contain (optional)",
    long_connection: "Long connection", transport: "How events get there", transport_hint: "The long connection can be saved only while a client is online.", no_connections: "no long connection is open", connection_about: "{sent} sent, {acked} acknowledged, {pings} pings", drop: "Close all connections",
    scenarios: "Scenarios", scenarios_hint: "Rehearse step by step: people join, talk and press, the platform fails. What you do here can be recorded, too, and shared.", play: "Play", play_file: "Play a file…", stop: "Stop", close: "Close", step_of: "step {n} of {of}",
    scenario_done: "played to its end", scenario_failed: "ended:", scenario_stopped: "stopped", record_start: "Start recording", record_stop: "Stop recording", recorded: "Download the recording ({n} steps)",
    today: "Today", new_messages: "{n} new ↓", unread: "unread", profile: "the bot's profile", message_it: "Message it", everyone: "all", you: "acts now", act_as_person: "Act as {name}", search: "Search members", nobody_found: "Nobody found", more_members: "{n} more: search for them",
    events: "Events", encryption: "Encrypted pushes", on: "on", off_now: "off", connections: "Long connections", groups_in: "Groups it is in", scopes_missing: "Scopes it lacks", none: "none", filter: "Filter", more: "More", nothing_found: "Nothing fits", per_call: "Call", per_chat: "Group, person or message", peak_second: "fullest second", second: "a second", minute: "a minute",
    none_active: "No fault is on", off: "Off", left: "{n} left", pushes: "Pushes", calls: "API calls", no_pushes: "Nothing was pushed yet", no_calls: "The bot made no call yet",
    again: "Push again", next_try: "next {t}", tries: "{n} tries", acked: "acknowledged", retrying: "will retry", gone: "given up", waiting: "sending", sending: "sending",
    "no webhook": "no URL", unknown_call: "unknown to the sandbox", request: "Request", answer: "Answer", no_callback: "This button calls nobody back",
    comma: ", ", and_more: " and {n} more", note_joined: "{by} brought {who} in", note_left: "{who} left", note_came: "{who} joined", note_removed: "{by} removed {who}", note_bot_joined: "{by} added {name}", note_bot_removed: "{by} removed {name}", note_renamed: "{by} renamed the group to “{name}”", note_dissolved: "{by} dissolved the group",
    draft: "[Draft] ", reply: "Reply", react: "React", edit: "Edit", in_thread: "in a thread", thread: "thread", pinned: "pinned", notice: "Notice", buzzed: "buzzed {n}", only_for: "only {name} sees this",
    attach: "Image or file", rename: "Rename", leave: "Leave", bot_joins: "Bot in", bot_leaves: "Bot out", dissolve: "Dissolve", dissolve_sure: "Its history cannot be read afterwards.", manager: "Manager",
    scopes: "Scopes", scopes_hint: "Without the scope for all group messages the bot cannot read group history, and hears only what mentions it.", group_messages: "All group messages",
    timeout: "timeout", "no connection": "no connection", "connection lost": "connection lost", "unknown host": "unknown host", press_ok: "called back in {ms} ms", press_failed: "Something went wrong, try again later  code: {code}",
  },
};

let language = localStorage.getItem("sandbox-language") || (/^en/i.test(navigator.language) ? "en" : "zh");

export const current = () => language;

export function word(key, values = {}) {
  const text = WORDS[language][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function choose(next) {
  language = next;
  localStorage.setItem("sandbox-language", next);
}

// Writes the words into every element that asks for one.
export function speak() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = word("title");
  for (const element of document.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of document.querySelectorAll("[data-word-placeholder]")) {
    element.placeholder = word(element.dataset.wordPlaceholder);
    element.setAttribute("aria-label", element.placeholder);
  }
  for (const element of document.querySelectorAll("[data-word-label]")) element.setAttribute("aria-label", word(element.dataset.wordLabel));
  for (const element of document.querySelectorAll("[data-word-title]")) element.title = word(element.dataset.wordTitle);
  document.getElementById("language").textContent = language === "zh" ? "English" : "中文";
}
