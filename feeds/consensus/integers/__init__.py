"""The compiled side: quotes to prices in whole numbers, for every change."""
