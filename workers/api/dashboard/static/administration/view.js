// What the operator changes: keys, plans, accounts and blocks, and who changed what. One list at a time (list.js).

import { accountList } from "./accounts.js";
import { auditList } from "./audit.js";
import { blockList } from "./blocks.js";
import { keyList } from "./keys.js";
import { showList } from "./list.js";
import { planList } from "./plans.js";

const LISTS = { keys: keyList, plans: planList, accounts: accountList, blocks: blockList, audit: auditList };

// Shows the list of this name in `content` until what it returns is called.
export const listView = (content, name) => showList(content, LISTS[name]);
